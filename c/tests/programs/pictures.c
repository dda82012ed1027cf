// Pictures and drawings as files, pixels and strokes: `pictures FIXTURES FOLDER`. The model's embedding is the mean of each colour.
#include <math.h>

#include "check.h"

static bool is_near(double value, double expected, double tolerance) {
  return fabs(value - expected) <= tolerance;
}

// 4 x 5 pixels of one colour, in rows of `stride` bytes; what is between the rows is of another.
static skf_image pixels(uint8_t *bytes, uint32_t format, size_t stride, const uint8_t *colour) {
  size_t n = format == SKF_GREY8 ? 1 : format == SKF_RGB8 ? 3 : 4;
  skf_image image = {.bytes = bytes, .format = format, .width = 4, .height = 5, .stride = stride};
  if (stride == 0) stride = 4 * n;
  memset(bytes, 77, 5 * stride);
  for (size_t y = 0; y < 5; y++)
    for (size_t x = 0; x < 4; x++) memcpy(bytes + y * stride + n * x, colour, n);
  // The last row ends with its last pixel.
  image.n_bytes = 4 * stride + 4 * n;
  return image;
}

int main(int argc, char **argv) {
  EXPECT(argc == 3);
  char model[4096], gallery[4096];
  path_in(model, argv[1], "mean8");
  path_in(gallery, argv[2], "gallery");
  EXPECT(skf_create(gallery, model, SKF_EXACT) == SKF_OK);
  skf_options options = {.writable = true, .threads = 1};
  skf_retriever *shop = NULL;
  EXPECT(skf_open(gallery, &options, &shop) == SKF_OK);

  float mean[3];
  uint8_t bytes[256];
  const uint8_t red[] = {255, 0, 0, 255}, half_red[] = {255, 0, 0, 128}, half_white[] = {255, 255, 255, 128}, grey[] = {51};
  const size_t tight_and_wide[] = {0, 16, 40};
  for (size_t i = 0; i < 3; i++) {
    skf_image image = pixels(bytes, SKF_RGB8, tight_and_wide[i], red);
    EXPECT(skf_embed_image(shop, &image, mean, 3) == SKF_OK);
    EXPECT(mean[0] == 1 && mean[1] == 0 && mean[2] == 0);
    image = pixels(bytes, SKF_RGBA8, tight_and_wide[i], half_red);
    EXPECT(skf_embed_image(shop, &image, mean, 3) == SKF_OK);
    EXPECT(mean[0] == 1 && is_near(mean[1], 127 / 255.0, 1e-6) && is_near(mean[2], 127 / 255.0, 1e-6));
    image = pixels(bytes, SKF_GREY8, tight_and_wide[i], grey);
    EXPECT(skf_embed_image(shop, &image, mean, 3) == SKF_OK);
    EXPECT(is_near(mean[0], 0.2, 1e-6) && mean[0] == mean[1] && mean[0] == mean[2]);
  }
  // White on nothing is white as a photo, and lies on black as a drawing.
  skf_image image = pixels(bytes, SKF_RGBA8, 0, half_white);
  EXPECT(skf_embed_image(shop, &image, mean, 3) == SKF_OK && mean[0] == 1);
  skf_sketch sketch = {.image = &image};
  EXPECT(skf_embed_sketch(shop, &sketch, mean, 3) == SKF_OK && is_near(mean[0], 128 / 255.0, 1e-6));

  // What is no picture.
  image = pixels(bytes, SKF_RGB8, 16, red);
  image.n_bytes -= 1;
  FAILS(skf_embed_image(shop, &image, mean, 3), SKF_BAD_ARGUMENT, "75 bytes, too few for 4 x 5");
  image.n_bytes += 1;
  image.stride = 11;
  FAILS(skf_embed_image(shop, &image, mean, 3), SKF_BAD_ARGUMENT, "stride is 11, expected 0 or at least the 12");
  image.stride = SIZE_MAX / 2;
  FAILS(skf_embed_image(shop, &image, mean, 3), SKF_BAD_ARGUMENT, "too few");
  image.stride = 0;
  image.height = 0;
  FAILS(skf_embed_image(shop, &image, mean, 3), SKF_BAD_ARGUMENT, "4 x 0");
  image.height = 5;
  image.format = 9;
  FAILS(skf_embed_image(shop, &image, mean, 3), SKF_BAD_ARGUMENT, "format is 9");
  image.format = SKF_ENCODED;
  FAILS(skf_embed_image(shop, &image, mean, 3), SKF_BAD_ARGUMENT, "set format for pixels");
  image.format = SKF_RGB8;
  image.reserved[0] = 1;
  FAILS(skf_embed_image(shop, &image, mean, 3), SKF_BAD_ARGUMENT, "later version");
  FAILS(skf_embed_image(shop, NULL, mean, 3), SKF_BAD_ARGUMENT, "image is null");
  FAILS(skf_embed_image(shop, &image, NULL, 3), SKF_BAD_ARGUMENT, "room");

  // Strokes: two pixels of 256 wide, so that a line of 0.6 of the page covers 0.6 * 2 / 256 of it.
  const double lines[] = {100, 200, 400, 200, 100, 300, 400, 300};
  const size_t lengths[] = {2, 2};
  skf_strokes one = {.width = 500, .height = 500, .points = lines, .n_points = 2, .lengths = lengths, .n_polylines = 1};
  skf_strokes two = one;
  two.n_points = 4;
  two.n_polylines = 2;
  float of_two[3];
  sketch = (skf_sketch){.strokes = &one};
  EXPECT(skf_embed_sketch(shop, &sketch, mean, 3) == SKF_OK);
  EXPECT(is_near(1 - mean[0], 0.6 * 2 / 256, 5e-4) && mean[0] == mean[2]);
  sketch.strokes = &two;
  EXPECT(skf_embed_sketch(shop, &sketch, of_two, 3) == SKF_OK);
  EXPECT(is_near(1 - of_two[0], 2 * (1 - mean[0]), 6e-4));

  // A photo of pixels, and one of a file, are found by strokes, by pixels and by several of them at once.
  const uint8_t white[] = {250, 250, 250};
  skf_image of_white = pixels(bytes, SKF_RGB8, 0, white);
  const char *cold[] = {"cold"};
  skf_photo photo = {.id = "white"};
  EXPECT(skf_add_image(shop, &photo, &of_white, false) == SKF_OK);
  struct bytes blue = read_file(argv[1], "photos/blue.png");
  photo = (skf_photo){.id = "blue", .labels = cold, .n_labels = 1};
  EXPECT(skf_add(shop, &photo, blue.start, blue.n, false) == SKF_OK);
  skf_matches *found = NULL;
  EXPECT(skf_query_strokes(shop, &one, 1, NULL, &found) == SKF_OK);
  EXPECT(strcmp(skf_matches_at(found, 0)->id, "white") == 0 && skf_matches_at(found, 0)->distance < 1e-3);
  const double by_strokes = skf_matches_at(found, 0)->distance;
  skf_matches_free(found);
  EXPECT(skf_query_embedding(shop, mean, 3, 1, NULL, &found) == SKF_OK);
  EXPECT(skf_matches_at(found, 0)->distance == by_strokes);
  skf_matches_free(found);
  skf_image of_file = {.bytes = blue.start, .n_bytes = blue.n};
  EXPECT(skf_query_image(shop, &of_file, 1, NULL, &found) == SKF_OK);
  EXPECT(strcmp(skf_matches_at(found, 0)->id, "blue") == 0 && skf_matches_at(found, 0)->distance == 0);
  skf_matches_free(found);
  skf_sketch several[] = {{.strokes = &one}, {.image = &of_file}, {.image = &of_white}};
  skf_matches *answers[3] = {NULL, NULL, NULL};
  EXPECT(skf_query_many(shop, several, 3, 2, NULL, answers) == SKF_OK);
  const char *firsts[] = {"white", "blue", "white"};
  for (int i = 0; i < 3; i++) {
    EXPECT(skf_matches_len(answers[i]) == 2 && strcmp(skf_matches_at(answers[i], 0)->id, firsts[i]) == 0);
    skf_matches_free(answers[i]);
    answers[i] = NULL;
  }
  skf_filter *filter = skf_filter_new();
  const char *nobody[] = {"nobody"};
  EXPECT(skf_filter_only_ids(filter, nobody, 1) == SKF_OK);
  EXPECT(skf_query_many(shop, several, 2, 2, filter, answers) == SKF_OK);
  for (int i = 0; i < 2; i++) {
    EXPECT(skf_matches_len(answers[i]) == 0 && strcmp(skf_matches_nothing_code(answers[i]), "no_such_id") == 0);
    skf_matches_free(answers[i]);
    answers[i] = NULL;
  }
  skf_filter_free(filter);
  EXPECT(skf_query_many(shop, NULL, 0, 2, NULL, NULL) == SKF_OK);
  several[1].strokes = &one;
  FAILS(skf_query_many(shop, several, 3, 2, NULL, answers), SKF_BAD_ARGUMENT, "sketch 2: a sketch is an image or strokes");
  several[1] = (skf_sketch){0};
  FAILS(skf_query_many(shop, several, 3, 2, NULL, answers), SKF_BAD_ARGUMENT, "sketch 2: ");
  several[1].image = &of_file;
  of_file.n_bytes = 20;
  FAILS(skf_query_many(shop, several, 3, 2, NULL, answers), SKF_BAD_IMAGE, "sketch 2: ");
  FAILS(skf_query_many(shop, several, 3, 2, NULL, NULL), SKF_BAD_IMAGE, "sketch 2: ");
  FAILS(skf_query_many(shop, several, 1, 2, NULL, NULL), SKF_BAD_ARGUMENT, "result is null");
  EXPECT(answers[0] == NULL && answers[1] == NULL && answers[2] == NULL);

  // What is no drawing.
  skf_strokes broken = two;
  broken.n_polylines = 1;
  FAILS(skf_query_strokes(shop, &broken, 1, NULL, &found), SKF_BAD_ARGUMENT, "2 points of strokes are in none");
  broken = two;
  broken.n_points = 3;
  FAILS(skf_query_strokes(shop, &broken, 1, NULL, &found), SKF_BAD_ARGUMENT, "polyline 2 of strokes has 2 points");
  broken = two;
  broken.width = 0;
  FAILS(skf_query_strokes(shop, &broken, 1, NULL, &found), SKF_BAD_ARGUMENT, "canvas is 0");
  const double far[] = {1, NAN, 2, 3};
  broken = one;
  broken.points = far;
  FAILS(skf_query_strokes(shop, &broken, 1, NULL, &found), SKF_BAD_ARGUMENT, "coordinate of a drawing is NaN");
  broken = (skf_strokes){.width = 10, .height = 10};
  FAILS(skf_query_strokes(shop, &broken, 1, NULL, &found), SKF_BAD_ARGUMENT, "number of a drawing's polylines is 0");
  FAILS(skf_query_strokes(shop, NULL, 1, NULL, &found), SKF_BAD_ARGUMENT, "a sketch is an image or strokes");

  skf_close(shop);
  free(blue.start);
  puts("all is well");
  return 0;
}
