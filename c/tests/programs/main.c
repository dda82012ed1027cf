// Goes the whole way through the C interface: `main FIXTURES FOLDER`.
#include "check.h"

#define PHOTO(its_id, its_labels, how_many, its_path) \
  (&(skf_photo){.id = (its_id), .labels = (its_labels), .n_labels = (how_many), .path = (its_path)})

// Programs are built with these sizes: to change one is to raise SKF_ABI. What a struct gains comes out of its reserve.
_Static_assert(SKF_ABI == 0, "another number, another library");
_Static_assert(sizeof(void *) != 8 || (sizeof(skf_options) == 104 && sizeof(skf_photo) == 64 && sizeof(skf_image) == 72), "");
_Static_assert(sizeof(void *) != 8 || (sizeof(skf_strokes) == 80 && sizeof(skf_sketch) == 48), "");
_Static_assert(sizeof(void *) != 8 || (sizeof(skf_photo_file) == 104 && sizeof(skf_ingest_options) == 96), "");

int main(int argc, char **argv) {
  EXPECT(argc == 3);
  char model[4096], gallery[4096];
  snprintf(model, sizeof model, "%s/mean8", argv[1]);
  snprintf(gallery, sizeof gallery, "%s/gallery", argv[2]);
  struct bytes red = read_file(argv[1], "photos/red.png"), blue = read_file(argv[1], "photos/blue.png");
  EXPECT(strchr(skf_version(), '.') != NULL && skf_abi() == SKF_ABI);

  skf_retriever *none = NULL;
  FAILS(skf_open(gallery, NULL, &none), SKF_IO, "gallery.json");
  FAILS(skf_open(NULL, NULL, &none), SKF_BAD_ARGUMENT, "path is null");
  FAILS(skf_open("\xff", NULL, &none), SKF_BAD_ARGUMENT, "UTF-8");
  FAILS(skf_create(gallery, argv[2], SKF_EXACT), SKF_IO, "card.json");
  FAILS(skf_create(gallery, model, 7), SKF_BAD_ARGUMENT, "index is 7");
  EXPECT(skf_create(gallery, model, SKF_EXACT) == SKF_OK);
  FAILS(skf_open(gallery, NULL, NULL), SKF_BAD_ARGUMENT, "result is null");

  skf_options options = {0};
  options.writable = true;
  options.sessions = 2;
  options.threads = 1;
  skf_retriever *retriever = NULL;
  EXPECT(skf_open(gallery, &options, &retriever) == SKF_OK && retriever != NULL);
  EXPECT(strlen(skf_last_error()) == 0);
  FAILS(skf_open(gallery, &options, &none), SKF_LOCKED, "another writer");
  EXPECT(skf_len(retriever) == 0 && skf_width(retriever) == 3 && skf_len(NULL) == 0 && skf_width(NULL) == 0);

  const char *warm[] = {"warm", "sale"}, *cold[] = {"cold"};
  EXPECT(skf_add(retriever, PHOTO("red", warm, 2, "shop/red.png"), red.start, red.n, false) == SKF_OK);
  EXPECT(skf_add(retriever, PHOTO("blue", cold, 1, NULL), blue.start, blue.n, false) == SKF_OK);
  FAILS(skf_add(retriever, PHOTO("red", NULL, 0, NULL), red.start, red.n, false), SKF_EXISTS, "'red'");
  FAILS(skf_add(retriever, PHOTO("x", NULL, 0, NULL), red.start, 20, false), SKF_BAD_IMAGE, "'x'");
  FAILS(skf_add(retriever, PHOTO("x", NULL, 0, NULL), NULL, 20, false), SKF_BAD_ARGUMENT, "bytes is null");
  FAILS(skf_add(retriever, PHOTO("", NULL, 0, NULL), red.start, red.n, false), SKF_BAD_ARGUMENT, "id");
  EXPECT(skf_add(retriever, PHOTO("red", warm, 2, "shop/red.png"), red.start, red.n, true) == SKF_OK);
  EXPECT(skf_len(retriever) == 2);

  skf_matches *matches = NULL;
  EXPECT(skf_query(retriever, red.start, red.n, 10, NULL, &matches) == SKF_OK);
  EXPECT(skf_matches_len(matches) == 2 && skf_matches_at(matches, 2) == NULL);
  const skf_match *best = skf_matches_at(matches, 0), *second = skf_matches_at(matches, 1);
  EXPECT(strcmp(best->id, "red") == 0 && best->rank == 1 && best->distance == 0.0);
  EXPECT(strcmp(best->path, "shop/red.png") == 0 && second->path == NULL && second->distance > 0.6);
  EXPECT(best->n_labels == 2 && strcmp(best->labels[0], "sale") == 0 && strcmp(best->labels[1], "warm") == 0);
  EXPECT(second->n_labels == 1 && skf_matches_nothing(matches) == NULL && skf_matches_nothing_code(NULL) == NULL);
  skf_matches_free(matches);
  FAILS(skf_query(retriever, red.start, red.n, 10, NULL, NULL), SKF_BAD_ARGUMENT, "result is null");
  FAILS(skf_query(NULL, red.start, red.n, 10, NULL, &matches), SKF_BAD_ARGUMENT, "retriever is null");

  skf_filter *filter = skf_filter_new();
  EXPECT(skf_filter_any_label(filter, cold, 1) == SKF_OK);
  EXPECT(skf_filter_without_label(filter, warm, 2) == SKF_OK);
  EXPECT(skf_query(retriever, red.start, red.n, 10, filter, &matches) == SKF_OK);
  EXPECT(skf_matches_len(matches) == 1 && strcmp(skf_matches_at(matches, 0)->id, "blue") == 0);
  skf_matches_free(matches);
  EXPECT(skf_filter_every_label(filter, warm, 2) == SKF_OK);
  EXPECT(skf_query(retriever, red.start, red.n, 10, filter, &matches) == SKF_OK && skf_matches_len(matches) == 0);
  EXPECT(strcmp(skf_matches_nothing_code(matches), "filter") == 0);
  EXPECT(strstr(skf_matches_nothing(matches), "none of the 2 photos") != NULL);
  skf_matches_free(matches);
  const char *ids[] = {"red", "never there"};
  EXPECT(skf_filter_only_ids(filter, ids, 2) == SKF_OK);
  FAILS(skf_filter_only_ids(filter, NULL, 2), SKF_BAD_ARGUMENT, "null");
  skf_filter_free(filter);
  filter = skf_filter_new();
  EXPECT(skf_filter_without_ids(filter, ids, 2) == SKF_OK);
  EXPECT(skf_query(retriever, red.start, red.n, 10, filter, &matches) == SKF_OK);
  EXPECT(skf_matches_len(matches) == 1 && strcmp(skf_matches_at(matches, 0)->id, "blue") == 0);
  skf_matches_free(matches);
  skf_filter_free(filter);
  filter = skf_filter_new();
  EXPECT(skf_filter_every_label(filter, &ids[1], 1) == SKF_OK);
  EXPECT(skf_query(retriever, red.start, red.n, 10, filter, &matches) == SKF_OK);
  EXPECT(strcmp(skf_matches_nothing_code(matches), "no_such_label") == 0);
  skf_matches_free(matches);
  EXPECT(skf_query(retriever, red.start, red.n, 0, NULL, &matches) == SKF_OK);
  EXPECT(skf_matches_len(matches) == 0 && skf_matches_nothing(matches) == NULL);
  skf_matches_free(matches);
  skf_filter_free(filter);

  float embedding[3];
  EXPECT(skf_embed(retriever, blue.start, blue.n, embedding, 3) == SKF_OK);
  EXPECT(embedding[0] == 0.0f && embedding[2] == 1.0f);
  FAILS(skf_embed(retriever, blue.start, blue.n, embedding, 2), SKF_BAD_ARGUMENT, "expected 3");
  EXPECT(skf_query_embedding(retriever, embedding, 3, 1, NULL, &matches) == SKF_OK);
  EXPECT(strcmp(skf_matches_at(matches, 0)->id, "blue") == 0);
  skf_matches_free(matches);
  FAILS(skf_query_embedding(retriever, embedding, 2, 1, NULL, &matches), SKF_BAD_ARGUMENT, "width");

  /* What is not given stays; what is given as empty goes. */
  filter = skf_filter_new();
  EXPECT(skf_filter_any_label(filter, warm, 2) == SKF_OK);
  for (int given = 0; given < 2; given++) {
    EXPECT(skf_add(retriever, PHOTO("red", given ? warm : NULL, 0, NULL), red.start, red.n, true) == SKF_OK);
    EXPECT(skf_query(retriever, red.start, red.n, 10, filter, &matches) == SKF_OK);
    EXPECT(skf_matches_len(matches) == (given ? 0u : 1u));
    EXPECT(given || strcmp(skf_matches_at(matches, 0)->path, "shop/red.png") == 0);
    skf_matches_free(matches);
  }
  skf_filter_free(filter);

  size_t n_removed = 9;
  EXPECT(skf_remove(retriever, ids, 2, &n_removed) == SKF_OK && n_removed == 1);
  EXPECT(skf_remove(retriever, NULL, 0, NULL) == SKF_OK);
  EXPECT(skf_compact(retriever) == SKF_OK && skf_len(retriever) == 1);

  // A second one reads, and sees what the first writes once it looks.
  skf_retriever *reader = NULL;
  options.writable = false;
  EXPECT(skf_open(gallery, &options, &reader) == SKF_OK && skf_len(reader) == 1);
  bool is_new = true;
  EXPECT(skf_refresh(reader, &is_new) == SKF_OK && !is_new);
  const char *blue_id = "blue";
  EXPECT(skf_remove(retriever, &blue_id, 1, &n_removed) == SKF_OK && n_removed == 1);
  EXPECT(skf_len(reader) == 1);
  EXPECT(skf_refresh(reader, &is_new) == SKF_OK && is_new && skf_len(reader) == 0);
  EXPECT(skf_refresh(reader, NULL) == SKF_OK);
  FAILS(skf_refresh(NULL, &is_new), SKF_BAD_ARGUMENT, "retriever");
  skf_close(reader);
  EXPECT(skf_add(retriever, PHOTO("blue", cold, 1, NULL), blue.start, blue.n, false) == SKF_OK);
  skf_close(retriever);

  // What a later version may have in reserve, and options that name what is not there.
  options.reserved[4] = 1;
  FAILS(skf_open(gallery, &options, &retriever), SKF_BAD_ARGUMENT, "later version");
  options.reserved[4] = 0;
  options.follow_ms = 9;
  FAILS(skf_open(gallery, &options, &retriever), SKF_BAD_ARGUMENT, "expected 10 milliseconds to a day");
  options.follow_ms = 0;
  options.device = "gpu";
  FAILS(skf_open(gallery, &options, &retriever), SKF_BAD_ARGUMENT, "'gpu', expected 'cpu', 'cuda' or 'cuda:N'");
  options.device = "cuda:7";
  FAILS(skf_open(gallery, &options, &retriever), SKF_NATIVE, "cuda:7");
  options.device = "\xff";
  FAILS(skf_open(gallery, &options, &retriever), SKF_BAD_ARGUMENT, "device is not UTF-8");
  options.device = "cpu";
  options.onnxruntime = argv[1];
  FAILS(skf_open(gallery, &options, &retriever), SKF_NATIVE, "already loaded");
  options.onnxruntime = getenv("ORT_DYLIB_PATH");
  options.max_pixels = 1;
  EXPECT(skf_open(gallery, &options, &retriever) == SKF_OK && skf_len(retriever) == 1);
  FAILS(skf_query(retriever, red.start, red.n, 1, NULL, &matches), SKF_BAD_IMAGE, "limit of 1 pixels");
  FAILS(skf_remove(retriever, ids, 2, NULL), SKF_READ_ONLY, "reading only");
  skf_close(retriever);
  skf_close(NULL);
  skf_matches_free(NULL);
  skf_filter_free(NULL);
  free(red.start);
  free(blue.start);
  puts("all is well");
  return 0;
}
