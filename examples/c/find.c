// Finds the photos of a folder that a drawing shows: find MODEL PHOTOS GALLERY DRAWING
//
// The gallery is made where there is none. Photos that are in it already are not embedded again, so that the next run is fast.
#include <stdio.h>
#include <stdlib.h>

#include "sketchfind.h"

static void check(skf_status status) {
  if (status != SKF_OK) {
    fprintf(stderr, "error %d: %s\n", (int)status, skf_last_error());
    exit(1);
  }
}

static void progress(void *user, size_t n_done, size_t n_files) {
  (void)user;
  fprintf(stderr, "\r%zu of %zu photos", n_done, n_files);
}

int main(int argc, char **argv) {
  if (argc != 5) {
    fprintf(stderr, "usage: %s MODEL PHOTOS GALLERY DRAWING\n", argv[0]);
    return 2;
  }
  const char *model = argv[1], *photos = argv[2], *gallery = argv[3], *drawing = argv[4];

  // All zeros are the ordinary options; set what is to be otherwise.
  skf_options options = {0};
  options.writable = true;
  skf_retriever *retriever = NULL;
  if (skf_open(gallery, &options, &retriever) == SKF_IO) {
    check(skf_create(gallery, model, SKF_AUTO));
    check(skf_open(gallery, &options, &retriever));
  } else if (retriever == NULL) {
    fprintf(stderr, "error: %s\n", skf_last_error());
    return 1;
  }

  skf_ingest_options how = {0};
  how.leave_out_broken = true;
  how.progress = progress;
  skf_ingested *ingested = NULL;
  check(skf_ingest_folder(retriever, photos, &how, &ingested));
  fprintf(stderr, ": %zu added\n", skf_ingested_counts(ingested)->n_added);
  for (size_t i = 0; i < skf_ingested_left_out_len(ingested); i++)
    fprintf(stderr, "left out: %s\n", skf_ingested_left_out_at(ingested, i)->reason);
  skf_ingested_free(ingested);

  FILE *file = fopen(drawing, "rb");
  static unsigned char bytes[1 << 24];
  const size_t n_bytes = file == NULL ? 0 : fread(bytes, 1, sizeof bytes, file);
  if (file != NULL) fclose(file);
  skf_matches *matches = NULL;
  check(skf_query(retriever, bytes, n_bytes, 10, NULL, &matches));
  if (skf_matches_nothing(matches) != NULL) printf("nothing: %s\n", skf_matches_nothing(matches));
  for (size_t i = 0; i < skf_matches_len(matches); i++) {
    const skf_match *match = skf_matches_at(matches, i);
    printf("%2u  %.4f  %s\n", (unsigned)match->rank, match->distance, match->id);
  }
  skf_matches_free(matches);
  skf_close(retriever);
  return 0;
}
