// sketchfind: find the photos of a gallery that match a sketch. Made by cbindgen of runtime/src/capi.rs; do not edit.
//
// Texts are UTF-8 and end with a zero byte. A function that takes a handle takes a live one. A retriever may be used by
// any number of threads at once, everything else by one at a time. Nothing here prints, exits or unwinds.
//
// ONNX Runtime reports to its maker and leaves files in the user's cache unless ORT_DISABLE_TELEMETRY is 1 in the
// environment when it starts. A program that is linked with this library has that set before its main. A process that loads
// the library late, when it has other threads, sets it itself, before it starts or before its first thread does: without it
// skf_open returns SKF_NATIVE, because a variable cannot safely be set beside other threads.

#ifndef SKETCHFIND_H
#define SKETCHFIND_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

// How a call ended. Anything but SKF_OK leaves a message for skf_last_error.
typedef enum skf_status {
  // Done.
  SKF_OK = 0,
  // An argument is null, not UTF-8 or out of range.
  SKF_BAD_ARGUMENT = 1,
  // A file cannot be read or written: missing, no permission, disk full.
  SKF_IO = 2,
  // An image cannot be decoded or is over the limit, or nothing is drawn on it.
  SKF_BAD_IMAGE = 3,
  // A gallery or model is damaged, foreign or of a newer version.
  SKF_BAD_FILE = 4,
  // ONNX Runtime or the device cannot be used, its telemetry cannot be switched off, or the model cannot be run.
  SKF_NATIVE = 5,
  // Another writer has the gallery.
  SKF_LOCKED = 6,
  // The gallery is open for reading only.
  SKF_READ_ONLY = 7,
  // The photo is there already.
  SKF_EXISTS = 8,
  // A defect of this library.
  SKF_INTERNAL = 99,
} skf_status;

// The index of a gallery.
typedef enum skf_index {
  // Compares with every photo.
  SKF_EXACT = 0,
  // Follows a graph; approximate.
  SKF_HNSW = 1,
  // Exact as long as that costs no more than embedding a sketch, then the graph.
  SKF_AUTO = 2,
} skf_index;

// Which photos a query may find.
typedef struct skf_filter skf_filter;

// The answer to a query.
typedef struct skf_matches skf_matches;

// A gallery with its model.
typedef struct skf_retriever skf_retriever;

// How a gallery is opened. All zeros, as in `skf_options options = {0}`, are the ordinary options.
typedef struct skf_options {
  // Whether photos may be added and removed: one process at a time.
  bool writable;
  // How many images may be in the model at a time; 0 for one.
  uint32_t sessions;
  // Threads of each session; 0 for a fair share of the cores.
  uint32_t threads;
  // The most pixels of an image that is decoded; 0 for 64 megapixels.
  uint64_t max_pixels;
  // The share of its page, 0.2 to 1, that a drawing is made to fill before it is embedded; 0 for what the model's card
  // says, below 0 to take drawings as they are.
  float frame;
} skf_options;

// A photo that matches a query. Its texts live as long as the answer that it is in.
typedef struct skf_match {
  // The photo's id.
  const char *id;
  // The photo's file, or null where the gallery does not know it.
  const char *path;
  // Its distance to the query; smaller is more alike.
  double distance;
  // Its place, from 1.
  uint32_t rank;
} skf_match;

// A photo that is to be added.
typedef struct skf_photo {
  // Its id, a text.
  const char *id;
  // Its labels, `n_labels` texts. Null is not given: a photo that replaces another keeps its labels. An array of none, which
  // is not null, is to have no labels.
  const char *const *labels;
  // The number of labels.
  size_t n_labels;
  // The path of its file as it shall be found, a text. Null is not given: a photo that replaces another keeps its path.
  const char *path;
} skf_photo;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The message of this thread's last call that did not return SKF_OK, or an empty text. It lives until the thread's next
// call.
const char *skf_last_error(void);

// The version of this library.
const char *skf_version(void);

// Makes an empty gallery at `path` of the model in the folder `model`, with an index of skf_index. A gallery that is
// there is replaced. Photos are framed as the model's card says.
//
// # Safety
// `path` and `model` are texts.
enum skf_status skf_create(const char *path,
                           const char *model,
                           uint32_t index);

// Opens the gallery at `path` and gives it out; skf_close frees it. `options` may be null.
//
// # Safety
// `path` is a text, `options` is null or points to options, `out` may be written.
enum skf_status skf_open(const char *path,
                         const struct skf_options *options,
                         struct skf_retriever **out);

// Closes a gallery. Null is nothing to close.
//
// # Safety
// `retriever` is null or was given out by skf_open, and nobody uses it any more.
void skf_close(struct skf_retriever *retriever);

// The number of photos; 0 for null.
//
// # Safety
// `retriever` is null or a live handle.
size_t skf_len(const struct skf_retriever *retriever);

// The width of an embedding; 0 for null.
//
// # Safety
// `retriever` is null or a live handle.
size_t skf_width(const struct skf_retriever *retriever);

// Finds the `k` photos that match the drawing whose file's bytes (JPEG, PNG, WebP, GIF, BMP, TIFF) are given, framed as
// `skf_options.frame` says. `filter` may be null. The answer is freed by skf_matches_free.
//
// # Safety
// `retriever` is a live handle, `bytes` points to `n_bytes` bytes, `filter` is null or a live handle, `out` may be
// written.
enum skf_status skf_query(const struct skf_retriever *retriever,
                          const uint8_t *bytes,
                          size_t n_bytes,
                          size_t k,
                          const struct skf_filter *filter,
                          struct skf_matches **out);

// Finds the `k` photos nearest to an embedding of `n_values` numbers; otherwise as skf_query.
//
// # Safety
// As of skf_query, with `values` pointing to `n_values` numbers.
enum skf_status skf_query_embedding(const struct skf_retriever *retriever,
                                    const float *values,
                                    size_t n_values,
                                    size_t k,
                                    const struct skf_filter *filter,
                                    struct skf_matches **out);

// The number of matches; 0 for null.
//
// # Safety
// `matches` is null or a live answer.
size_t skf_matches_len(const struct skf_matches *matches);

// The match at a place from 0, best first, or null beyond the last. It lives as long as the answer.
//
// # Safety
// `matches` is null or a live answer.
const struct skf_match *skf_matches_at(const struct skf_matches *matches, size_t place);

// Frees an answer. Null is nothing to free.
//
// # Safety
// `matches` is null or was given out by a query, and nobody uses it or its texts any more.
void skf_matches_free(struct skf_matches *matches);

// Writes the embedding of the image whose file's bytes are given to `out`, which has room for `n_out` numbers, as many
// as skf_width says.
//
// # Safety
// `retriever` is a live handle, `bytes` points to `n_bytes` bytes, `out` to `n_out` numbers that may be written.
enum skf_status skf_embed(const struct skf_retriever *retriever,
                          const uint8_t *bytes,
                          size_t n_bytes,
                          float *out,
                          size_t n_out);

// Adds a photo and its file's bytes. With `replace` it takes the place of the photo that has its id, and keeps its labels and
// path where they are not given. When this returns SKF_OK the photo is on the disk.
//
// # Safety
// `retriever` is a live handle, `photo` points to a photo whose members are as it says, `bytes` points to `n_bytes`
// bytes.
enum skf_status skf_add(const struct skf_retriever *retriever,
                        const struct skf_photo *photo,
                        const uint8_t *bytes,
                        size_t n_bytes,
                        bool replace);

// Removes the photos of `n_ids` ids in one step and writes how many were there to `n_removed`, which may be null.
//
// # Safety
// `retriever` is a live handle, `ids` points to `n_ids` texts, `n_removed` is null or may be written.
enum skf_status skf_remove(const struct skf_retriever *retriever,
                           const char *const *ids,
                           size_t n_ids,
                           size_t *n_removed);

// Sees what other processes have written since the gallery was opened for reading; `is_new` is told whether there was
// anything, unless it is null. SKF_BAD_FILE where the gallery was replaced by one of another model, which has to be opened
// anew.
//
// # Safety
// `retriever` is a live handle, `is_new` is null or may be written.
enum skf_status skf_refresh(const struct skf_retriever *retriever,
                            bool *is_new);

// Gives back the space of removed photos and brings the index up to date.
//
// # Safety
// `retriever` is a live handle.
enum skf_status skf_compact(const struct skf_retriever *retriever);

// A filter that every photo passes; skf_filter_free frees it. Null only where memory is short.
struct skf_filter *skf_filter_new(void);

// Lets only photos of these ids pass.
//
// # Safety
// `filter` is a live handle that nobody else uses, `ids` points to `n` texts.
enum skf_status skf_filter_only_ids(struct skf_filter *filter, const char *const *ids, size_t n);

// Lets only photos with at least one of these labels pass.
//
// # Safety
// `filter` is a live handle that nobody else uses, `labels` points to `n` texts.
enum skf_status skf_filter_any_label(struct skf_filter *filter,
                                     const char *const *labels,
                                     size_t n);

// Lets only photos with every one of these labels pass.
//
// # Safety
// `filter` is a live handle that nobody else uses, `labels` points to `n` texts.
enum skf_status skf_filter_every_label(struct skf_filter *filter,
                                       const char *const *labels,
                                       size_t n);

// Lets no photo with one of these labels pass.
//
// # Safety
// `filter` is a live handle that nobody else uses, `labels` points to `n` texts.
enum skf_status skf_filter_without_label(struct skf_filter *filter,
                                         const char *const *labels,
                                         size_t n);

// Frees a filter. Null is nothing to free.
//
// # Safety
// `filter` is null or was given out by skf_filter_new, and nobody uses it any more.
void skf_filter_free(struct skf_filter *filter);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SKETCHFIND_H */
