// Goes the whole way through the C interface: `main FIXTURES FOLDER`.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sketchfind.h"

static void expect(bool holds, const char *what, int line) {
  if (!holds) {
    fprintf(stderr, "line %d: %s does not hold; last error: '%s'\n", line, what, skf_last_error());
    exit(1);
  }
}
#define EXPECT(condition) expect(condition, #condition, __LINE__)
#define FAILS(call, status, words) \
  do { \
    EXPECT((call) == (status)); \
    EXPECT(strstr(skf_last_error(), (words)) != NULL); \
  } while (0)

#define PHOTO(...) (&(skf_photo){__VA_ARGS__})

struct bytes {
  uint8_t *start;
  size_t n;
};

static struct bytes read_file(const char *folder, const char *name) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "rb");
  EXPECT(file != NULL);
  struct bytes bytes = {malloc(1 << 20), 0};
  bytes.n = fread(bytes.start, 1, 1 << 20, file);
  fclose(file);
  EXPECT(bytes.n > 0);
  return bytes;
}

int main(int argc, char **argv) {
  EXPECT(argc == 3);
  char model[4096], gallery[4096];
  snprintf(model, sizeof model, "%s/mean8", argv[1]);
  snprintf(gallery, sizeof gallery, "%s/gallery", argv[2]);
  struct bytes red = read_file(argv[1], "photos/red.png"), blue = read_file(argv[1], "photos/blue.png");
  EXPECT(strchr(skf_version(), '.') != NULL);

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
  const char *ids[] = {"red", "never there"};
  EXPECT(skf_filter_only_ids(filter, ids, 2) == SKF_OK);
  FAILS(skf_filter_only_ids(filter, NULL, 2), SKF_BAD_ARGUMENT, "null");
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
