// What the C programs of the tests share: a check that says which line failed, and files.
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
#define EXPECT(...) expect(__VA_ARGS__, #__VA_ARGS__, __LINE__)
#define FAILS(call, status, words) \
  do { \
    EXPECT((call) == (status)); \
    EXPECT(strstr(skf_last_error(), (words)) != NULL); \
  } while (0)

struct bytes {
  uint8_t *start;
  size_t n;
};

static const char *path_in(char *path, const char *folder, const char *name) {
  snprintf(path, 4096, "%s/%s", folder, name);
  return path;
}

static struct bytes read_file(const char *folder, const char *name) {
  char path[4096];
  FILE *file = fopen(path_in(path, folder, name), "rb");
  EXPECT(file != NULL);
  struct bytes bytes = {malloc(1 << 20), 0};
  bytes.n = fread(bytes.start, 1, 1 << 20, file);
  fclose(file);
  EXPECT(bytes.n > 0);
  return bytes;
}
