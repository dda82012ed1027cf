// Embeddings that are ready, in galleries without a model, and what keeps a gallery well: `ready FIXTURES FOLDER`.
#include <math.h>
#include <pthread.h>

#include "check.h"

#define WIDTH 4
#define ID 24
#define N_MANY 1500
#define N_LONG 30000

// Programs are built with these sizes: to change one is to raise SKF_ABI.
_Static_assert(sizeof(void *) != 8 || (sizeof(skf_space) == 56 && sizeof(skf_work) == 56 && sizeof(skf_search_options) == 64), "");
_Static_assert(sizeof(void *) != 8 || (sizeof(skf_import_options) == 56 && sizeof(skf_copied) == 56), "");
_Static_assert(sizeof(void *) != 8 || (sizeof(skf_recall) == 88 && sizeof(skf_verification) == 80), "");

struct watch {
  pthread_t thread;
  size_t n_calls, n_done, n_all, n_asked, stop_at;
};

static void told(void *user, size_t n_done, size_t n_all) {
  struct watch *watch = user;
  EXPECT(pthread_equal(watch->thread, pthread_self()) && n_done >= watch->n_done && n_done <= n_all);
  watch->n_calls++;
  watch->n_done = n_done;
  watch->n_all = n_all;
}

static bool asked(void *user) {
  struct watch *watch = user;
  EXPECT(pthread_equal(watch->thread, pthread_self()));
  return ++watch->n_asked >= watch->stop_at;
}

static skf_work watched(struct watch *watch, size_t stop_at) {
  *watch = (struct watch){.thread = pthread_self(), .stop_at = stop_at};
  return (skf_work){.progress = told, .is_cancelled = asked, .user = watch};
}

// Numbers of a fixed sequence, 0 to 1.
static float drawn(void) {
  static uint64_t state = 7;
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (float)(state >> 40) / (float)(1 << 24);
}

static double between(const float *a, const float *b) {
  double sum = 0;
  for (int i = 0; i < WIDTH; i++) sum += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
  return sum / WIDTH;
}

// Opens a gallery without a model that is made anew.
static skf_retriever *made(const char *path, uint32_t index) {
  const skf_space space = {.width = WIDTH, .distance = SKF_MSE};
  const skf_options options = {.writable = true};
  skf_retriever *shop = NULL;
  EXPECT(skf_create_without_model(path, &space, index) == SKF_OK);
  EXPECT(skf_open(path, &options, &shop) == SKF_OK && skf_width(shop) == WIDTH && skf_len(shop) == 0);
  return shop;
}

// Fills an empty gallery with `n` embeddings, which are the result.
static float *filled(skf_retriever *shop, size_t n) {
  float *rows = malloc(n * WIDTH * sizeof *rows);
  skf_photo *photos = calloc(n, sizeof *photos);
  char *ids = malloc(n * ID);
  EXPECT(rows != NULL && photos != NULL && ids != NULL);
  for (size_t i = 0; i < n; i++) {
    snprintf(ids + ID * i, ID, "%06zu", i);
    photos[i].id = ids + ID * i;
    for (int j = 0; j < WIDTH; j++) rows[WIDTH * i + j] = drawn();
  }
  EXPECT(skf_add_embeddings(shop, photos, rows, n, WIDTH, false) == SKF_OK && skf_len(shop) == n);
  free(photos);
  free(ids);
  return rows;
}

static void a_gallery_without_a_model(const char *fixtures, const char *folder) {
  char path[4096], file[4096], calibration[4096];
  path_in(path, folder, "ready");
  skf_space space = {.width = WIDTH, .distance = SKF_COSINE};
  FAILS(skf_create_without_model(NULL, &space, SKF_AUTO), SKF_BAD_ARGUMENT, "path is null");
  FAILS(skf_create_without_model(path, NULL, SKF_AUTO), SKF_BAD_ARGUMENT, "space is null");
  FAILS(skf_create_without_model(path, &space, 9), SKF_BAD_ARGUMENT, "index is 9");
  space.distance = 7;
  FAILS(skf_create_without_model(path, &space, SKF_AUTO), SKF_BAD_ARGUMENT, "distance is 7");
  space = (skf_space){.distance = SKF_MSE};
  FAILS(skf_create_without_model(path, &space, SKF_AUTO), SKF_BAD_ARGUMENT, "width of embeddings is 0");
  space = (skf_space){.width = WIDTH, .model_sha256 = "resnet50"};
  FAILS(skf_create_without_model(path, &space, SKF_AUTO), SKF_BAD_ARGUMENT, "'resnet50'");
  space = (skf_space){.width = WIDTH, .reserved = {0, 1}};
  FAILS(skf_create_without_model(path, &space, SKF_AUTO), SKF_BAD_ARGUMENT, "later version");
  skf_retriever *shop = made(path, SKF_AUTO), *other = NULL;

  // What takes a picture says by a code of its own that there is no model.
  struct bytes red = read_file(fixtures, "photos/red.png");
  const skf_image image = {.bytes = red.start, .n_bytes = red.n};
  const double points[] = {1, 1, 9, 9};
  const size_t length = 2;
  const skf_strokes strokes = {.width = 10, .height = 10, .points = points, .n_points = 2, .lengths = &length, .n_polylines = 1};
  const skf_sketch sketch = {.strokes = &strokes};
  const skf_photo a = {.id = "a"};
  const skf_photo_file of_a = {.photo = {.id = "a"}, .file = path_in(file, fixtures, "photos/red.png")};
  skf_matches *found = NULL;
  float embedding[WIDTH];
  FAILS(skf_query(shop, red.start, red.n, 1, NULL, &found), SKF_NO_MODEL, "no model");
  FAILS(skf_query_image(shop, &image, 1, NULL, &found), SKF_NO_MODEL, "no model");
  FAILS(skf_query_strokes(shop, &strokes, 1, NULL, &found), SKF_NO_MODEL, "no model");
  FAILS(skf_query_many(shop, &sketch, 1, 1, NULL, &found), SKF_NO_MODEL, "no model");
  FAILS(skf_query_with(shop, &sketch, 1, NULL, NULL, &found), SKF_NO_MODEL, "no model");
  FAILS(skf_query_many_with(shop, &sketch, 1, 1, NULL, NULL, &found), SKF_NO_MODEL, "no model");
  FAILS(skf_embed(shop, red.start, red.n, embedding, WIDTH), SKF_NO_MODEL, "no model");
  FAILS(skf_embed_image(shop, &image, embedding, WIDTH), SKF_NO_MODEL, "no model");
  FAILS(skf_embed_sketch(shop, &sketch, embedding, WIDTH), SKF_NO_MODEL, "no model");
  FAILS(skf_add(shop, &a, red.start, red.n, false), SKF_NO_MODEL, "no model");
  FAILS(skf_add_image(shop, &a, &image, true), SKF_NO_MODEL, "no model");
  FAILS(skf_add_batch(shop, &a, &image, 1, false), SKF_NO_MODEL, "no model");
  FAILS(skf_ingest(shop, &of_a, 1, NULL, NULL), SKF_NO_MODEL, "no model");
  FAILS(skf_ingest_folder(shop, path_in(file, fixtures, "photos"), NULL, NULL), SKF_NO_MODEL, "no model");
  const skf_options sure = {.calibration = path_in(calibration, folder, "calibration.json")};
  FAILS(skf_open(path, &sure, &other), SKF_NO_MODEL, "no model");
  EXPECT(found == NULL && other == NULL && skf_len(shop) == 0);
  free(red.start);

  // In whole or not at all.
  const float rows[] = {0, 0, 0, 0, 1, 0, 0, 0, 0, 2, 0, 0}, broken[] = {0, 0, 0, NAN};
  const char *labels[] = {"first", "both", "both"};
  skf_photo photos[] = {{.id = "c", .labels = labels, .n_labels = 2, .path = "shop/c.jpg"},
                        {.id = "b", .labels = labels + 1, .n_labels = 1},
                        {.id = "c"}};
  FAILS(skf_add_embeddings(shop, photos, rows, 3, WIDTH, false), SKF_EXISTS, "'c'");
  photos[2].id = "a";
  FAILS(skf_add_embeddings(shop, photos, rows, 3, 3, false), SKF_BAD_ARGUMENT, "width of embeddings is 3, expected 4");
  FAILS(skf_add_embeddings(shop, photos, NULL, 3, WIDTH, false), SKF_BAD_ARGUMENT, "embeddings is null");
  FAILS(skf_add_embeddings(shop, photos, rows, SIZE_MAX / 2, WIDTH, false), SKF_BAD_ARGUMENT, "too");
  FAILS(skf_add_embeddings(shop, NULL, rows, 3, WIDTH, false), SKF_BAD_ARGUMENT, "photos is null");
  FAILS(skf_add_embeddings(shop, photos, broken, 1, WIDTH, false), SKF_BAD_ARGUMENT, "not finite");
  FAILS(skf_add_embeddings(NULL, photos, rows, 3, WIDTH, false), SKF_BAD_ARGUMENT, "retriever is null");
  EXPECT(skf_len(shop) == 0 && skf_add_embeddings(shop, NULL, NULL, 0, 0, false) == SKF_OK);
  EXPECT(skf_add_embeddings(shop, photos, rows, 3, WIDTH, false) == SKF_OK && skf_len(shop) == 3);
  FAILS(skf_add_embeddings(shop, photos, rows, 3, WIDTH, false), SKF_EXISTS, "'c'");

  // Asked with one, with several, and among some.
  EXPECT(skf_query_embedding(shop, rows + WIDTH, WIDTH, 2, NULL, &found) == SKF_OK && skf_matches_len(found) == 2);
  const skf_match *best = skf_matches_at(found, 0);
  EXPECT(strcmp(best->id, "b") == 0 && best->distance == 0 && isnan(best->score) && isnan(skf_matches_score(found)));
  skf_matches_free(found);
  skf_matches *answers[3] = {NULL, NULL, NULL};
  EXPECT(skf_query_embeddings(shop, rows, 3, WIDTH, 1, NULL, NULL, answers) == SKF_OK);
  for (int i = 0; i < 3; i++) {
    EXPECT(strcmp(skf_matches_at(answers[i], 0)->id, photos[i].id) == 0);
    skf_matches_free(answers[i]);
    answers[i] = NULL;
  }
  EXPECT(skf_query_embeddings(shop, NULL, 0, 0, 1, NULL, NULL, NULL) == SKF_OK);
  FAILS(skf_query_embeddings(shop, rows, 1, 12, 1, NULL, NULL, answers), SKF_BAD_ARGUMENT, "width of embeddings is 12");
  FAILS(skf_query_embeddings(shop, broken, 1, WIDTH, 1, NULL, NULL, answers), SKF_BAD_ARGUMENT, "NaN");
  FAILS(skf_query_embeddings(shop, rows, 1, WIDTH, 1, NULL, NULL, NULL), SKF_BAD_ARGUMENT, "result is null");

  // What is not given stays where a photo is replaced.
  const skf_photo again = {.id = "c"};
  EXPECT(skf_add_embeddings(shop, &again, rows + 2 * WIDTH, 1, WIDTH, true) == SKF_OK && skf_len(shop) == 3);
  skf_filter *filter = skf_filter_new();
  EXPECT(skf_filter_any_label(filter, labels, 1) == SKF_OK);
  EXPECT(skf_query_embeddings(shop, rows + 2 * WIDTH, 1, WIDTH, 9, filter, NULL, answers) == SKF_OK);
  best = skf_matches_at(answers[0], 0);
  EXPECT(skf_matches_len(answers[0]) == 1 && best->distance == 0 && strcmp(best->path, "shop/c.jpg") == 0 && best->n_labels == 2);
  skf_matches_free(answers[0]);
  skf_filter_free(filter);
  skf_list *list = NULL;
  EXPECT(skf_get(shop, "a", &list) == SKF_OK && strcmp(skf_list_next(list)->id, "a") == 0 && skf_list_embedding(list)[1] == 2);
  skf_list_free(list);
  skf_close(shop);

  // A gallery with a model takes what its model has made.
  char model[4096];
  EXPECT(skf_create(path, path_in(model, fixtures, "mean8"), SKF_EXACT) == SKF_OK);
  const skf_options writing = {.writable = true, .threads = 1};
  EXPECT(skf_open(path, &writing, &shop) == SKF_OK && skf_width(shop) == 3);
  const float of_blue[] = {0, 0, 1};
  EXPECT(skf_add_embeddings(shop, &a, of_blue, 1, 3, false) == SKF_OK);
  struct bytes blue = read_file(fixtures, "photos/blue.png");
  EXPECT(skf_query(shop, blue.start, blue.n, 1, NULL, &found) == SKF_OK && skf_matches_at(found, 0)->distance == 0);
  skf_matches_free(found);
  free(blue.start);
  skf_close(shop);
}

static void files_of_embeddings(const char *fixtures, const char *folder) {
  char path[4096], other_path[4096], file[4096], parquet[4096];
  skf_retriever *shop = made(path_in(path, folder, "first"), SKF_EXACT);
  skf_retriever *other = made(path_in(other_path, folder, "second"), SKF_EXACT);
  float *rows = filled(shop, N_MANY);
  path_in(file, folder, "embeddings.npy");
  struct watch watch;
  skf_work work = watched(&watch, 1);
  FAILS(skf_export(shop, file, &work, NULL), SKF_CANCELLED, "cancelled");
  FAILS(skf_import(other, file, NULL, NULL, NULL), SKF_IO, "embeddings.npy");
  work = watched(&watch, SIZE_MAX);
  skf_exported *exported = NULL;
  EXPECT(skf_export(shop, file, &work, &exported) == SKF_OK && skf_exported_len(exported) == N_MANY);
  EXPECT(watch.n_done == N_MANY && watch.n_all == N_MANY && watch.n_calls >= 2 && watch.n_asked > 0);
  EXPECT(skf_exported_without_path_len(exported) == 0 && skf_exported_without_path_at(exported, 0) == NULL);
  skf_exported_free(exported);
  FAILS(skf_export(shop, path_in(parquet, folder, "embeddings.txt"), NULL, NULL), SKF_BAD_FILE, "ends in .npy or .parquet");
  FAILS(skf_export(shop, NULL, NULL, NULL), SKF_BAD_ARGUMENT, "path is null");
  EXPECT(skf_exported_len(NULL) == 0 && skf_exported_without_path_len(NULL) == 0);
  skf_exported_free(NULL);

  skf_ingested *imported = NULL;
  work = watched(&watch, 1);
  FAILS(skf_import(other, file, NULL, &work, &imported), SKF_CANCELLED, "cancelled");
  EXPECT(imported == NULL && skf_len(other) == 0 && watch.n_asked == 1);
  work = watched(&watch, SIZE_MAX);
  EXPECT(skf_import(other, file, NULL, &work, &imported) == SKF_OK && watch.n_done == N_MANY && watch.n_all == N_MANY);
  const skf_counts *counts = skf_ingested_counts(imported);
  EXPECT(counts->n_added == N_MANY && counts->n_replaced == 0 && counts->n_unchanged == 0 && counts->n_known == 0);
  EXPECT(skf_ingested_left_out_len(imported) == 0 && skf_ingested_unread_columns_len(imported) == 0);
  EXPECT(skf_ingested_unread_columns_at(imported, 0) == NULL && skf_ingested_unread_columns_len(NULL) == 0);
  skf_ingested_free(imported);
  skf_list *list = NULL;
  EXPECT(skf_get(other, "000009", &list) == SKF_OK && skf_list_next(list) != NULL);
  EXPECT(memcmp(skf_list_embedding(list), rows + 9 * WIDTH, WIDTH * sizeof *rows) == 0);
  skf_list_free(list);

  // What is there stays; another embedding under its id is refused before anything is changed, or replaces it.
  const skf_photo changed = {.id = "000009"};
  EXPECT(skf_add_embeddings(other, &changed, rows, 1, WIDTH, true) == SKF_OK);
  const char *gone = "000003";
  EXPECT(skf_remove(other, &gone, 1, NULL) == SKF_OK);
  FAILS(skf_import(other, file, NULL, NULL, &imported), SKF_EXISTS, "'000009'");
  EXPECT(skf_len(other) == N_MANY - 1);
  skf_import_options how = {.replace = true};
  EXPECT(skf_import(other, file, &how, NULL, &imported) == SKF_OK);
  counts = skf_ingested_counts(imported);
  EXPECT(counts->n_added == 1 && counts->n_replaced == 1 && counts->n_unchanged == N_MANY - 2);
  skf_ingested_free(imported);
  EXPECT(skf_import(other, file, NULL, NULL, NULL) == SKF_OK);
  how.reserved[5] = 1;
  FAILS(skf_import(other, file, &how, NULL, NULL), SKF_BAD_ARGUMENT, "later version");
  work.reserved[3] = 1;
  FAILS(skf_import(other, file, NULL, &work, NULL), SKF_BAD_ARGUMENT, "later version");
  FAILS(skf_export(other, file, &work, NULL), SKF_BAD_ARGUMENT, "later version");

  // A table has labels too, rows that failed, and columns that nobody knows.
  path_in(parquet, folder, "embeddings.parquet");
  EXPECT(skf_export(other, parquet, NULL, &exported) == SKF_OK && skf_exported_len(exported) == N_MANY);
  skf_exported_free(exported);
  EXPECT(skf_import(shop, parquet, NULL, NULL, &imported) == SKF_OK);
  EXPECT(skf_ingested_counts(imported)->n_unchanged == N_MANY);
  skf_ingested_free(imported);
  skf_close(other);
  const skf_space space = {.width = 2};
  const skf_options options = {.writable = true};
  EXPECT(skf_create_without_model(other_path, &space, SKF_EXACT) == SKF_OK);
  EXPECT(skf_open(other_path, &options, &other) == SKF_OK);
  EXPECT(skf_import(other, path_in(parquet, fixtures, "embeddings/full.parquet"), NULL, NULL, &imported) == SKF_OK);
  EXPECT(skf_ingested_counts(imported)->n_added == 3 && skf_ingested_left_out_len(imported) == 1);
  const skf_left_out *row = skf_ingested_left_out_at(imported, 0);
  EXPECT(strcmp(row->id, "broken") == 0 && row->file == NULL && strcmp(row->reason, "cannot decode") == 0);
  EXPECT(skf_ingested_unread_columns_len(imported) == 1);
  EXPECT(strcmp(skf_ingested_unread_columns_at(imported, 0), "price") == 0);
  skf_ingested_free(imported);
  EXPECT(skf_get(other, "a", &list) == SKF_OK);
  const skf_photo *photo = skf_list_next(list);
  EXPECT(photo->n_labels == 2 && strcmp(photo->path, "shop/a.jpg") == 0 && skf_list_embedding(list)[1] == 2);
  skf_list_free(list);
  FAILS(skf_import(shop, path_in(file, fixtures, "mean8/probe.npy"), NULL, NULL, NULL), SKF_BAD_FILE, "wide");
  free(rows);
  skf_close(shop);
  skf_close(other);
}

static void a_graph_and_what_it_finds(const char *folder) {
  char path[4096], copy[4096];
  skf_retriever *shop = made(path_in(path, folder, "graph"), SKF_HNSW), *reader = NULL;
  float *rows = filled(shop, N_MANY);
  skf_recall recall = {.k = 5};
  EXPECT(skf_measure_recall(shop, NULL, &recall) == SKF_OK && !recall.is_measured && recall.k == 0);
  struct watch watch;
  skf_work work = watched(&watch, SIZE_MAX);
  EXPECT(skf_compact_with(shop, &work) == SKF_OK && watch.n_done == N_MANY && watch.n_all == N_MANY && watch.n_asked > 0);
  work = watched(&watch, 1);
  FAILS(skf_measure_recall(shop, &work, &recall), SKF_CANCELLED, "cancelled");
  FAILS(skf_compact_with(shop, &work), SKF_CANCELLED, "cancelled");
  work = watched(&watch, SIZE_MAX);
  EXPECT(skf_measure_recall(shop, &work, &recall) == SKF_OK && recall.is_measured);
  EXPECT(watch.n_done == 200 && watch.n_all == 200);
  EXPECT(recall.k == 10 && recall.n_queries == 200 && recall.n_photos == N_MANY && recall.n_nearest == 2000);
  EXPECT(recall.value > 0.9 && recall.value == (double)recall.n_found / 2000 && recall.reserved[0] == 0);
  FAILS(skf_measure_recall(shop, NULL, NULL), SKF_BAD_ARGUMENT, "result is null");

  // Exact search finds the nearest of all; a graph with one candidate misses some of them, and with all candidates none.
  size_t n_missed[3] = {0, 0, 0};
  const skf_search_options ways[] = {{.exact = true}, {.ef = N_MANY}, {.ef = 1}};
  enum { N_ASKED = 300 };
  float asked_for[N_ASKED * WIDTH];
  for (size_t i = 0; i < N_ASKED * WIDTH; i++) asked_for[i] = drawn();
  skf_matches *found[N_ASKED];
  for (int way = 0; way < 3; way++) {
    EXPECT(skf_query_embeddings(shop, asked_for, N_ASKED, WIDTH, 1, NULL, &ways[way], found) == SKF_OK);
    for (size_t i = 0; i < N_ASKED; i++) {
      double nearest = INFINITY;
      for (size_t row = 0; row < N_MANY; row++) nearest = fmin(nearest, between(rows + row * WIDTH, asked_for + i * WIDTH));
      if (skf_matches_at(found[i], 0)->distance > nearest * (1 + 1e-9)) n_missed[way]++;
      skf_matches_free(found[i]);
    }
  }
  EXPECT(n_missed[0] == 0 && n_missed[1] == 0 && n_missed[2] > 0);
  skf_search_options options = {.ef = 100001};
  FAILS(skf_query_embeddings(shop, asked_for, 1, WIDTH, 1, NULL, &options, found), SKF_BAD_ARGUMENT, "ef is 100001");
  options = (skf_search_options){.min_score = 0.5};
  FAILS(skf_query_embeddings(shop, asked_for, 1, WIDTH, 1, NULL, &options, found), SKF_BAD_ARGUMENT, "no calibration");
  options = (skf_search_options){.reserved = {1}};
  FAILS(skf_query_embeddings(shop, asked_for, 1, WIDTH, 1, NULL, &options, found), SKF_BAD_ARGUMENT, "later version");
  free(rows);

  // A copy is as it was, also of a gallery that is being written, and takes no other's place unasked.
  path_in(copy, folder, "copy");
  skf_copied copied;
  memset(&copied, 77, sizeof copied);
  EXPECT(skf_copy(path, copy, false, &copied) == SKF_OK && copied.n_photos == N_MANY && copied.reserved[3] == 0);
  EXPECT(copied.n_own > 0 && copied.n_own + copied.n_shared >= 3);
  const char *removed = "000000";
  EXPECT(skf_remove(shop, &removed, 1, NULL) == SKF_OK);
  FAILS(skf_copy(path, copy, false, NULL), SKF_BAD_FILE, "is there already");
  FAILS(skf_copy(folder, copy, true, NULL), SKF_BAD_FILE, "no gallery");
  FAILS(skf_copy(path, NULL, true, NULL), SKF_BAD_ARGUMENT, "to is null");
  EXPECT(skf_open(copy, NULL, &reader) == SKF_OK && skf_len(reader) == N_MANY);
  skf_close(reader);
  EXPECT(skf_copy(path, copy, true, NULL) == SKF_OK);
  EXPECT(skf_open(copy, NULL, &reader) == SKF_OK && skf_len(reader) == N_MANY - 1);
  FAILS(skf_set_index(reader, SKF_EXACT), SKF_READ_ONLY, "reading only");
  FAILS(skf_compact_with(reader, NULL), SKF_READ_ONLY, "reading only");
  skf_close(reader);

  // Another index, from the next opening on.
  FAILS(skf_set_index(shop, 3), SKF_BAD_ARGUMENT, "index is 3");
  FAILS(skf_set_index(NULL, SKF_EXACT), SKF_BAD_ARGUMENT, "retriever is null");
  EXPECT(skf_set_index(shop, SKF_EXACT) == SKF_OK && skf_compact(shop) == SKF_OK);
  EXPECT(skf_measure_recall(shop, NULL, &recall) == SKF_OK && !recall.is_measured && recall.value == 0);
  skf_close(shop);

  // Long work ends soon when it is to, and what was done before the graph stays done.
  shop = made(path, SKF_HNSW);
  free(filled(shop, N_LONG));
  EXPECT(skf_remove(shop, &removed, 1, NULL) == SKF_OK);
  work = watched(&watch, 3);
  FAILS(skf_compact_with(shop, &work), SKF_CANCELLED, "cancelled");
  EXPECT(watch.n_asked >= 3 && watch.n_all == N_LONG - 1 && skf_len(shop) == N_LONG - 1);
  EXPECT(skf_measure_recall(shop, NULL, &recall) == SKF_OK && !recall.is_measured);
  skf_close(shop);
}

static const char *product_of(skf_retriever *shop, const char *id) {
  static char product[64];
  skf_list *list = NULL;
  EXPECT(skf_get(shop, id, &list) == SKF_OK);
  const char *found = skf_list_next(list)->product;
  if (found != NULL) snprintf(product, sizeof product, "%s", found);
  skf_list_free(list);
  return found == NULL ? NULL : product;
}

static void products(const char *folder) {
  char path[4096];
  skf_retriever *shop = made(path_in(path, folder, "products"), SKF_EXACT);
  // Seven photos in a row: the first four are of two products, by turns, the others of none.
  const char *ids[] = {"a", "b", "c", "d", "e", "f", "g"}, *shown[] = {"boot", "shoe", "boot", "shoe", NULL, NULL, ""};
  skf_photo photos[7] = {0};
  float rows[7 * WIDTH] = {0};
  for (int i = 0; i < 7; i++) {
    photos[i].id = ids[i];
    photos[i].product = shown[i];
    rows[i * WIDTH] = (float)i;
  }
  EXPECT(skf_add_embeddings(shop, photos, rows, 7, WIDTH, false) == SKF_OK);
  EXPECT(strcmp(product_of(shop, "c"), "boot") == 0 && product_of(shop, "e") == NULL && product_of(shop, "g") == NULL);

  skf_matches *found = NULL;
  EXPECT(skf_query_embeddings(shop, rows, 1, WIDTH, 4, NULL, NULL, &found) == SKF_OK);
  for (size_t i = 0; i < 4; i++) EXPECT(strcmp(skf_matches_at(found, i)->product, shown[i]) == 0);
  skf_matches_free(found);
  const skf_search_options by_product = {.by_product = true};
  EXPECT(skf_query_embeddings(shop, rows, 1, WIDTH, 4, NULL, &by_product, &found) == SKF_OK && skf_matches_len(found) == 4);
  const char *best[] = {"a", "b", "e", "f"};
  for (size_t i = 0; i < 4; i++) {
    const skf_match *match = skf_matches_at(found, i);
    EXPECT(strcmp(match->id, best[i]) == 0 && match->rank == i + 1 && (match->product == NULL) == (i > 1));
  }
  skf_matches_free(found);

  for (int without = 0; without < 2; without++) {
    skf_filter *filter = skf_filter_new();
    EXPECT((without ? skf_filter_without_products : skf_filter_only_products)(filter, shown, 1) == SKF_OK);
    EXPECT(skf_query_embeddings(shop, rows, 1, WIDTH, 9, filter, NULL, &found) == SKF_OK);
    EXPECT(skf_matches_len(found) == (without ? 5u : 2u));
    EXPECT(strcmp(skf_matches_at(found, 1)->id, without ? "d" : "c") == 0);
    skf_matches_free(found);
    FAILS(skf_filter_only_products(filter, NULL, 1), SKF_BAD_ARGUMENT, "null");
    skf_filter_free(filter);
  }
  skf_filter *filter = skf_filter_new();
  const char *hat = "hat";
  EXPECT(skf_filter_only_products(filter, &hat, 1) == SKF_OK);
  EXPECT(skf_query_embeddings(shop, rows, 1, WIDTH, 9, filter, NULL, &found) == SKF_OK);
  EXPECT(strcmp(skf_matches_nothing_code(found), "no_such_product") == 0);
  skf_matches_free(found);
  skf_filter_free(filter);

  // What is not given stays, and what is given as empty goes.
  photos[0].product = NULL;
  EXPECT(skf_add_embeddings(shop, photos, rows, 1, WIDTH, true) == SKF_OK && strcmp(product_of(shop, "a"), "boot") == 0);
  photos[0].product = "";
  EXPECT(skf_add_embeddings(shop, photos, rows, 1, WIDTH, true) == SKF_OK && product_of(shop, "a") == NULL);
  photos[0].product = "\xff";
  FAILS(skf_add_embeddings(shop, photos, rows, 1, WIDTH, true), SKF_BAD_ARGUMENT, "product is not UTF-8");
  skf_close(shop);
}

static void writing_by_turns(const char *folder) {
  char path[4096];
  skf_retriever *writer = made(path_in(path, folder, "turns"), SKF_EXACT), *turns[2] = {NULL, NULL};
  skf_options options = {.by_turns = true, .writable = true};
  FAILS(skf_open(path, &options, &turns[0]), SKF_BAD_ARGUMENT, "writable and by_turns");
  options.writable = false;
  for (int i = 0; i < 2; i++) EXPECT(skf_open(path, &options, &turns[i]) == SKF_OK);
  const float zero[WIDTH] = {0};
  const skf_photo photos[] = {{.id = "a"}, {.id = "b"}};
  FAILS(skf_add_embeddings(turns[0], photos, zero, 1, WIDTH, false), SKF_LOCKED, "another writer");
  skf_close(writer);
  for (int i = 0; i < 2; i++) EXPECT(skf_add_embeddings(turns[i], photos + i, zero, 1, WIDTH, false) == SKF_OK);
  // The second has begun with what the first has written.
  EXPECT(skf_len(turns[1]) == 2 && skf_refresh(turns[0], NULL) == SKF_OK && skf_len(turns[0]) == 2);
  for (int i = 0; i < 2; i++) skf_close(turns[i]);
}

int main(int argc, char **argv) {
  EXPECT(argc == 3);
  a_gallery_without_a_model(argv[1], argv[2]);
  files_of_embeddings(argv[1], argv[2]);
  a_graph_and_what_it_finds(argv[2]);
  products(argv[2]);
  writing_by_turns(argv[2]);
  puts("all is well");
  return 0;
}
