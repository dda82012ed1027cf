// How sure an answer is, and sketches that go through a network of their own: `answers FIXTURES FOLDER`. In FOLDER there are a
// `calibration.json` of the model mean8 with a min_score of 0.5, `other.json` of another, and the models `two-networks`, whose
// sketches have twice the embedding of photos, and `changed`, whose probe says what it does not give.
#include <math.h>

#include "check.h"

static skf_image grey(const uint8_t *value) {
  return (skf_image){.bytes = value, .n_bytes = 1, .format = SKF_GREY8, .width = 1, .height = 1};
}

static bool is_first(skf_matches *found, const char *id, double distance) {
  const skf_match *best = skf_matches_at(found, 0);
  bool is = best != NULL && strcmp(best->id, id) == 0 && fabs(best->distance - distance) < 1e-6;
  skf_matches_free(found);
  return is;
}

static void how_sure_an_answer_is(const char *fixtures, const char *folder) {
  char path[4096], model[4096], calibration[4096];
  path_in(path, folder, "gallery");
  EXPECT(skf_create(path, path_in(model, fixtures, "mean8"), SKF_EXACT) == SKF_OK);
  skf_options options = {.writable = true, .threads = 1};
  skf_retriever *shop = NULL;
  EXPECT(skf_open(path, &options, &shop) == SKF_OK);
  for (uint8_t i = 0; i < 20; i++) {
    char id[3];
    snprintf(id, sizeof id, "%02u", (unsigned)i);
    const uint8_t value = 10 * i;
    const skf_image image = grey(&value);
    EXPECT(skf_add_image(shop, &(skf_photo){.id = id}, &image, false) == SKF_OK);
  }
  // Without a calibration there are no scores, and none can be asked for.
  const uint8_t near = 50, far = 255;
  const skf_image of_near = grey(&near), of_far = grey(&far);
  const skf_sketch sketches[] = {{.image = &of_near}, {.image = &of_far}};
  skf_matches *found = NULL, *answers[2] = {NULL, NULL};
  EXPECT(skf_query_with(shop, sketches, 3, NULL, NULL, &found) == SKF_OK && skf_matches_len(found) == 3);
  EXPECT(isnan(skf_matches_score(found)) && isnan(skf_matches_at(found, 0)->score) && isnan(skf_matches_score(NULL)));
  skf_matches_free(found);
  skf_search_options how = {.min_score = 0.5};
  FAILS(skf_query_with(shop, sketches, 3, NULL, &how, &found), SKF_BAD_ARGUMENT, "no calibration");
  how.min_score = -1;
  FAILS(skf_query_many_with(shop, sketches, 2, 3, NULL, &how, answers), SKF_BAD_ARGUMENT, "min_score is -1");
  skf_close(shop);

  options.calibration = path_in(calibration, folder, "other.json");
  FAILS(skf_open(path, &options, &shop), SKF_BAD_ARGUMENT, "the model that the calibration is of");
  path_in(calibration, fixtures, "mean8/card.json");
  FAILS(skf_open(path, &options, &shop), SKF_BAD_FILE, "no calibration");
  path_in(calibration, folder, "not there.json");
  FAILS(skf_open(path, &options, &shop), SKF_IO, "not there.json");
  path_in(calibration, folder, "calibration.json");
  EXPECT(skf_open(path, &options, &shop) == SKF_OK);

  // By whichever door: the first ten have scores, which are those of all however few are asked for.
  EXPECT(skf_query_image(shop, &of_near, 20, NULL, &found) == SKF_OK && skf_matches_len(found) == 20);
  double scores[20], sum = 0;
  for (size_t i = 0; i < 20; i++) {
    scores[i] = skf_matches_at(found, i)->score;
    EXPECT(i < 10 ? scores[i] > 0 && scores[i] <= 1 && (i == 0 || scores[i] <= scores[i - 1]) : isnan(scores[i]));
    if (i < 10) sum += scores[i];
  }
  EXPECT(fabs(skf_matches_score(found) - sum) < 1e-12 && sum < 1 && skf_matches_nothing(found) == NULL);
  const double surest = skf_matches_score(found);
  skf_matches_free(found);
  float embeddings[6];
  EXPECT(skf_embed_sketch(shop, &sketches[0], embeddings, 3) == SKF_OK);
  EXPECT(skf_embed_sketch(shop, &sketches[1], embeddings + 3, 3) == SKF_OK);
  for (int door = 0; door < 6; door++) {
    skf_matches **out = door < 3 ? &found : answers;
    how = (skf_search_options){.min_score = door % 2 == 0 ? surest : -1, .exact = door == 4};
    EXPECT((door == 0   ? skf_query_with(shop, &sketches[0], 1, NULL, &how, out)
            : door == 1 ? skf_query_image(shop, &of_near, 1, NULL, out)
            : door == 2 ? skf_query_embedding(shop, embeddings, 3, 1, NULL, out)
            : door == 3 ? skf_query_many(shop, sketches, 2, 1, NULL, out)
            : door == 4 ? skf_query_many_with(shop, sketches, 2, 1, NULL, &how, out)
                        : skf_query_embeddings(shop, embeddings, 2, 3, 1, NULL, &how, out)) == SKF_OK);
    EXPECT(skf_matches_len(*out) == 1 && skf_matches_score(*out) == surest);
    EXPECT(skf_matches_at(*out, 0)->score == scores[0] && strcmp(skf_matches_at(*out, 0)->id, "05") == 0);
    skf_matches_free(*out);
    if (door < 3) continue;
    // What is nobody's has a lower score, and nothing fits where that is asked for.
    EXPECT(skf_matches_score(answers[1]) < 0.5);
    EXPECT(skf_matches_len(answers[1]) == (door == 3 ? 1u : 0u));
    EXPECT(door == 3 || strcmp(skf_matches_nothing_code(answers[1]), "no_fit") == 0);
    EXPECT(door == 3 || strstr(skf_matches_nothing(answers[1]), "nothing fits: the score is") != NULL);
    skf_matches_free(answers[1]);
  }
  // What the filter leaves out is another reason, and is the one that is told.
  skf_filter *filter = skf_filter_new();
  const char *label = "never there";
  EXPECT(skf_filter_every_label(filter, &label, 1) == SKF_OK);
  how = (skf_search_options){.min_score = 1};
  EXPECT(skf_query_with(shop, sketches, 1, filter, &how, &found) == SKF_OK && skf_matches_len(found) == 0);
  EXPECT(strcmp(skf_matches_nothing_code(found), "no_such_label") == 0 && isnan(skf_matches_score(found)));
  skf_matches_free(found);
  skf_filter_free(filter);
  const double beyond[] = {1.5, NAN, INFINITY};
  for (int i = 0; i < 3; i++) {
    how.min_score = beyond[i];
    FAILS(skf_query_with(shop, sketches, 1, NULL, &how, &found), SKF_BAD_ARGUMENT, "expected 0 to 1");
  }
  how = (skf_search_options){.reserved = {0, 0, 0, 0, 0, 1}};
  FAILS(skf_query_with(shop, sketches, 1, NULL, &how, &found), SKF_BAD_ARGUMENT, "later version");
  FAILS(skf_query_with(shop, NULL, 1, NULL, NULL, &found), SKF_BAD_ARGUMENT, "sketch is null");
  skf_close(shop);
}

static void sketches_have_a_network_of_their_own(const char *fixtures, const char *folder) {
  char path[4096], model[4096], photos[4096];
  path_in(path, folder, "two");
  EXPECT(skf_create(path, path_in(model, folder, "two-networks"), SKF_EXACT) == SKF_OK);
  const skf_options options = {.writable = true, .threads = 1};
  skf_retriever *shop = NULL;
  EXPECT(skf_open(path, &options, &shop) == SKF_OK);
  struct bytes blue = read_file(fixtures, "photos/blue.png");
  const skf_image image = {.bytes = blue.start, .n_bytes = blue.n};
  const double points[] = {100, 200, 400, 200};
  const size_t length = 2;
  const skf_strokes strokes = {.width = 500, .height = 500, .points = points, .n_points = 2, .lengths = &length, .n_polylines = 1};
  const skf_sketch sketch = {.image = &image}, drawn = {.strokes = &strokes};
  // Photos go through theirs, by each way in.
  EXPECT(skf_add(shop, &(skf_photo){.id = "add"}, blue.start, blue.n, false) == SKF_OK);
  EXPECT(skf_add_batch(shop, &(skf_photo){.id = "batch"}, &image, 1, false) == SKF_OK);
  EXPECT(skf_ingest_folder(shop, path_in(photos, fixtures, "photos"), NULL, NULL) == SKF_OK);
  float embedding[3];
  EXPECT(skf_embed(shop, blue.start, blue.n, embedding, 3) == SKF_OK && embedding[2] == 1);
  const char *ids[] = {"add", "batch", "blue.png"};
  for (int i = 0; i < 3; i++) {
    skf_list *list = NULL;
    EXPECT(skf_get(shop, ids[i], &list) == SKF_OK && skf_list_next(list) != NULL && skf_list_embedding(list)[2] == 1);
    skf_list_free(list);
  }
  // Sketches through the other, by each way to ask.
  EXPECT(skf_embed_sketch(shop, &sketch, embedding, 3) == SKF_OK && embedding[0] == 0 && embedding[2] == 2);
  EXPECT(skf_add_embeddings(shop, &(skf_photo){.id = "twice"}, embedding, 1, 3, false) == SKF_OK);
  EXPECT(skf_embed_sketch(shop, &drawn, embedding, 3) == SKF_OK && embedding[0] > 1.9f && embedding[0] < 2);
  EXPECT(skf_add_embeddings(shop, &(skf_photo){.id = "drawn"}, embedding, 1, 3, false) == SKF_OK);
  skf_matches *found = NULL;
  EXPECT(skf_query(shop, blue.start, blue.n, 1, NULL, &found) == SKF_OK && is_first(found, "twice", 0));
  EXPECT(skf_query_image(shop, &image, 1, NULL, &found) == SKF_OK && is_first(found, "twice", 0));
  EXPECT(skf_query_strokes(shop, &strokes, 1, NULL, &found) == SKF_OK && is_first(found, "drawn", 0));
  EXPECT(skf_query_with(shop, &sketch, 1, NULL, NULL, &found) == SKF_OK && is_first(found, "twice", 0));
  EXPECT(skf_query_many(shop, &drawn, 1, 1, NULL, &found) == SKF_OK && is_first(found, "drawn", 0));
  EXPECT(skf_query_many_with(shop, &sketch, 1, 1, NULL, NULL, &found) == SKF_OK && is_first(found, "twice", 0));
  free(blue.start);
  skf_close(shop);
}

static void a_model_is_checked(const char *fixtures, const char *folder) {
  char model[4096];
  skf_verification found;
  EXPECT(skf_verify(path_in(model, folder, "two-networks"), NULL, &found) == SKF_OK);
  EXPECT(found.passed && found.n_images > 0 && found.relative <= found.tolerance && found.reserved[0] == 0);
  // In a gallery too.
  EXPECT(skf_verify(path_in(model, folder, "two/model"), NULL, &found) == SKF_OK && found.passed);
  EXPECT(skf_verify(path_in(model, folder, "changed"), NULL, &found) == SKF_OK);
  EXPECT(!found.passed && found.largest_difference > 0.9 && found.relative > found.tolerance && found.largest_component > 0);
  EXPECT(skf_verify(model, NULL, NULL) == SKF_OK);
  char probe[4096];
  EXPECT(remove(path_in(probe, folder, "changed/probe.npy")) == 0);
  FAILS(skf_verify(model, NULL, &found), SKF_IO, "probe.npy");
  FAILS(skf_verify(NULL, NULL, &found), SKF_BAD_ARGUMENT, "model is null");
  skf_options options = {.device = "gpu"};
  FAILS(skf_verify(path_in(model, fixtures, "mean8"), &options, &found), SKF_BAD_ARGUMENT, "'gpu'");
  options = (skf_options){.reserved = {1}};
  FAILS(skf_verify(model, &options, &found), SKF_BAD_ARGUMENT, "later version");
}

int main(int argc, char **argv) {
  EXPECT(argc == 3);
  how_sure_an_answer_is(argv[1], argv[2]);
  sketches_have_a_network_of_their_own(argv[1], argv[2]);
  a_model_is_checked(argv[1], argv[2]);
  puts("all is well");
  return 0;
}
