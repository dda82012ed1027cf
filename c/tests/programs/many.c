// Many photos: batches, files with progress and cancelling, lists: `many FIXTURES FOLDER`.
#include <pthread.h>

#include "check.h"

struct watch {
  pthread_t thread;
  size_t n_calls, n_done, n_files, n_asked, stop_at;
};

static void told(void *user, size_t n_done, size_t n_files) {
  struct watch *watch = user;
  EXPECT(pthread_equal(watch->thread, pthread_self()) && n_done >= watch->n_done && n_done <= n_files);
  watch->n_calls++;
  watch->n_done = n_done;
  watch->n_files = n_files;
}

static bool asked(void *user) {
  struct watch *watch = user;
  EXPECT(pthread_equal(watch->thread, pthread_self()));
  return ++watch->n_asked >= watch->stop_at;
}

static skf_ingest_options watched(struct watch *watch, size_t stop_at) {
  *watch = (struct watch){.thread = pthread_self(), .stop_at = stop_at};
  return (skf_ingest_options){.progress = told, .is_cancelled = asked, .user = watch};
}

static void copy(const char *from, const char *folder, const char *name) {
  struct bytes bytes = read_file(from, name);
  char path[4096];
  FILE *file = fopen(path_in(path, folder, strchr(name, '/') + 1), "wb");
  EXPECT(file != NULL && fwrite(bytes.start, 1, bytes.n, file) == bytes.n && fclose(file) == 0);
  free(bytes.start);
}

int main(int argc, char **argv) {
  EXPECT(argc == 3);
  char model[4096], gallery[4096], red_file[4096], blue_file[4096], broken_file[4096];
  path_in(model, argv[1], "mean8");
  path_in(gallery, argv[2], "gallery");
  copy(argv[1], argv[2], "photos/red.png");
  copy(argv[1], argv[2], "photos/blue.png");
  path_in(red_file, argv[2], "red.png");
  path_in(blue_file, argv[2], "blue.png");
  FILE *file = fopen(path_in(broken_file, argv[2], "broken.png"), "wb");
  EXPECT(file != NULL && fputs("\x89PNG\r\n\x1a\nand no more", file) >= 0 && fclose(file) == 0);

  EXPECT(skf_create(gallery, model, SKF_EXACT) == SKF_OK);
  skf_options options = {.writable = true, .threads = 1};
  skf_retriever *shop = NULL;
  EXPECT(skf_open(gallery, &options, &shop) == SKF_OK);

  // A batch is in whole or not at all.
  const uint8_t colours[] = {200, 0, 0, 0, 200, 0, 0, 0, 200};
  const char *labels[] = {"first", "both", "both"};
  skf_photo photos[] = {
      {.id = "c", .labels = labels, .n_labels = 2}, {.id = "a", .labels = labels + 1, .n_labels = 1}, {.id = "b", .path = "shop/b.jpg"}};
  skf_image images[3];
  for (int i = 0; i < 3; i++)
    images[i] = (skf_image){.bytes = colours + 3 * i, .n_bytes = 3, .format = SKF_RGB8, .width = 1, .height = 1};
  images[1].n_bytes = 2;
  FAILS(skf_add_batch(shop, photos, images, 3, false), SKF_BAD_ARGUMENT, "'a': an image has 2 bytes");
  images[1].n_bytes = 3;
  photos[2].id = "c";
  FAILS(skf_add_batch(shop, photos, images, 3, false), SKF_EXISTS, "'c'");
  photos[2].id = "b";
  EXPECT(skf_len(shop) == 0);
  EXPECT(skf_add_batch(shop, photos, images, 3, false) == SKF_OK && skf_len(shop) == 3);
  FAILS(skf_add_batch(shop, photos, images, 3, false), SKF_EXISTS, "'c'");
  photos[1].labels = NULL;
  photos[1].n_labels = 0;
  EXPECT(skf_add_batch(shop, photos, images, 3, true) == SKF_OK && skf_len(shop) == 3);
  EXPECT(skf_add_batch(shop, NULL, NULL, 0, false) == SKF_OK);
  photos[0].reserved[2] = 5;
  FAILS(skf_add_batch(shop, photos, images, 3, true), SKF_BAD_ARGUMENT, "later version");

  // A list is sorted, keeps what it began with, and knows labels, paths and embeddings.
  skf_list *list = NULL;
  EXPECT(skf_list_all(shop, NULL, &list) == SKF_OK && skf_list_embedding(list) == NULL);
  const char *removed = "b";
  EXPECT(skf_remove(shop, &removed, 1, NULL) == SKF_OK && skf_len(shop) == 2);
  const char *ids[] = {"a", "b", "c"};
  for (int i = 0; i < 3; i++) {
    const skf_photo *photo = skf_list_next(list);
    EXPECT(photo != NULL && strcmp(photo->id, ids[i]) == 0 && photo->labels != NULL);
    EXPECT(photo->n_labels == (i == 0 ? 1u : i == 1 ? 0u : 2u));
    EXPECT((photo->path == NULL) == (i != 1));
    EXPECT(skf_list_embedding(list)[i == 0 ? 1 : i == 1 ? 2 : 0] > 0.7f);
  }
  EXPECT(skf_list_next(list) == NULL && skf_list_next(list) == NULL && skf_list_embedding(list) == NULL);
  EXPECT(strlen(skf_last_error()) == 0);
  skf_list_free(list);
  skf_filter *filter = skf_filter_new();
  EXPECT(skf_filter_any_label(filter, labels, 1) == SKF_OK);
  EXPECT(skf_list_all(shop, filter, &list) == SKF_OK);
  skf_filter_free(filter);
  EXPECT(strcmp(skf_list_next(list)->id, "c") == 0 && skf_list_next(list) == NULL);
  skf_list_free(list);
  EXPECT(skf_get(shop, "c", &list) == SKF_OK);
  const skf_photo *photo = skf_list_next(list);
  EXPECT(photo->n_labels == 2 && strcmp(photo->labels[0], "both") == 0 && strcmp(photo->labels[1], "first") == 0);
  // What was given out can be given back.
  EXPECT(skf_add_image(shop, photo, &images[1], true) == SKF_OK);
  skf_list_free(list);
  EXPECT(skf_get(shop, "b", &list) == SKF_OK && skf_list_next(list) == NULL);
  skf_list_free(list);
  FAILS(skf_get(shop, NULL, &list), SKF_BAD_ARGUMENT, "id is null");
  EXPECT(skf_list_next(NULL) == NULL && skf_list_embedding(NULL) == NULL);
  skf_list_free(NULL);

  // Files: one of them is broken.
  skf_photo_file files[] = {{.photo = {.id = "red", .labels = labels, .n_labels = 1}, .file = red_file},
                            {.photo = {.id = "broken"}, .file = broken_file},
                            {.photo = {.id = "blue", .path = blue_file}}};
  skf_ingested *ingested = NULL;
  struct watch watch;
  skf_ingest_options how = watched(&watch, 1);
  FAILS(skf_ingest(shop, files, 3, &how, &ingested), SKF_CANCELLED, "cancelled");
  EXPECT(ingested == NULL && skf_len(shop) == 2 && watch.n_asked == 1);
  FAILS(skf_ingest(shop, files, 3, NULL, &ingested), SKF_BAD_IMAGE, "broken.png");
  EXPECT(ingested == NULL);
  how = watched(&watch, SIZE_MAX);
  how.leave_out_broken = true;
  EXPECT(skf_ingest(shop, files, 3, &how, &ingested) == SKF_OK);
  EXPECT(watch.n_calls > 0 && watch.n_done == 3 && watch.n_files == 3 && watch.n_asked > 0);
  const skf_counts *counts = skf_ingested_counts(ingested);
  EXPECT(counts->n_added + counts->n_unchanged == 2 && counts->n_replaced == 0);
  EXPECT(skf_ingested_left_out_len(ingested) == 1 && skf_ingested_left_out_at(ingested, 1) == NULL);
  const skf_left_out *left_out = skf_ingested_left_out_at(ingested, 0);
  EXPECT(strcmp(left_out->id, "broken") == 0 && strcmp(left_out->file, broken_file) == 0);
  EXPECT(strstr(left_out->reason, "broken.png") != NULL);
  skf_ingested_free(ingested);
  EXPECT(skf_len(shop) == 4);
  EXPECT(skf_get(shop, "blue", &list) == SKF_OK && strcmp(skf_list_next(list)->path, blue_file) == 0);
  skf_list_free(list);

  // Another picture under an id that is there from elsewhere.
  files[0].photo.id = "blue";
  FAILS(skf_ingest(shop, files, 1, NULL, NULL), SKF_EXISTS, "'blue' is in the gallery");
  how = (skf_ingest_options){.replace_other_sources = true};
  EXPECT(skf_ingest(shop, files, 1, &how, &ingested) == SKF_OK && skf_ingested_counts(ingested)->n_replaced == 1);
  skf_ingested_free(ingested);
  files[0].file = NULL;
  FAILS(skf_ingest(shop, files, 1, NULL, NULL), SKF_BAD_ARGUMENT, "'blue' has neither a file nor a path");
  how.reserved[0] = 1;
  FAILS(skf_ingest(shop, files, 0, &how, NULL), SKF_BAD_ARGUMENT, "later version");
  files[1].reserved[0] = 1;
  FAILS(skf_ingest(shop, files + 1, 1, NULL, NULL), SKF_BAD_ARGUMENT, "later version");

  // A folder: what lies in it, the gallery's own files not being photos.
  how = (skf_ingest_options){0};
  FAILS(skf_ingest_folder(shop, argv[2], &how, &ingested), SKF_BAD_IMAGE, "broken.png");
  how = watched(&watch, SIZE_MAX);
  how.leave_out_broken = how.replace_other_sources = true;
  EXPECT(skf_ingest_folder(shop, argv[2], &how, &ingested) == SKF_OK && watch.n_files == 3);
  EXPECT(skf_ingested_left_out_len(ingested) == 1);
  EXPECT(strstr(skf_ingested_left_out_at(ingested, 0)->reason, "broken.png") != NULL);
  skf_ingested_free(ingested);
  EXPECT(skf_get(shop, "red", &list) == SKF_OK && skf_list_next(list)->path == NULL);
  skf_list_free(list);
  EXPECT(skf_get(shop, "red.png", &list) == SKF_OK && strcmp(skf_list_next(list)->path, red_file) == 0);
  skf_list_free(list);
  FAILS(skf_ingest_folder(shop, broken_file, NULL, NULL), SKF_IO, "broken.png");
  FAILS(skf_ingest_folder(shop, NULL, NULL, NULL), SKF_BAD_ARGUMENT, "folder is null");
  EXPECT(skf_ingested_counts(NULL) == NULL && skf_ingested_left_out_len(NULL) == 0);
  skf_ingested_free(NULL);
  EXPECT(skf_compact(shop) == SKF_OK);
  skf_close(shop);
  puts("all is well");
  return 0;
}
