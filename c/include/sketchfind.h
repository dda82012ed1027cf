// sketchfind: find the photos of a gallery that match a sketch. Made by cbindgen of c/src; do not edit.
//
// Texts are UTF-8 and end with a zero byte. A function that takes a handle takes a live one. A retriever may be used by
// any number of threads at once, everything else by one at a time. Nothing here prints, exits or unwinds.
//
// A program that was built with this header runs with every later library of the same SKF_ABI: functions and members stay as
// they are. A struct that you make ends with members in reserve, which are 0, as all of it is in `skf_options options = {0}`;
// a member that is added takes their place, and 0 is what was before there was one. An older library sees that one of them is
// not 0, and refuses it. A struct that you make for the library to fill has the same reserve, where it writes 0. A struct that the
// library makes is given out by its address, and may grow at its end.
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

// The version of the binary interface, and the number in the name of the shared library, libsketchfind.so.0: a program runs
// with every library of the number that it was built with, and that is as new as the header or newer.
#define SKF_ABI 0

// How a call ended. Anything but SKF_OK leaves a message for skf_last_error. There may be more of them in later versions.
typedef enum skf_status {
  // Done.
  SKF_OK = 0,
  // An argument is null, not UTF-8, out of range or not finite.
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
  // The caller's function said that the work is to stop.
  SKF_CANCELLED = 9,
  // What is used was opened by the process that this one was forked from: open it in this one.
  SKF_FORKED = 10,
  // A picture was given to a gallery that has no model: it takes embeddings that are ready, and is asked with such.
  SKF_NO_MODEL = 11,
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

// What the bytes of an image are.
typedef enum skf_format {
  // A file: JPEG, PNG, WebP, GIF, BMP or TIFF, which of them its content says.
  SKF_ENCODED = 0,
  // Pixels of grey.
  SKF_GREY8 = 1,
  // Pixels of red, green and blue.
  SKF_RGB8 = 2,
  // Pixels of red, green, blue and opacity, by which the colours are not multiplied.
  SKF_RGBA8 = 3,
} skf_format;

// By what embeddings are compared.
typedef enum skf_distance {
  // The mean of the squared differences.
  SKF_MSE = 0,
  // One minus the cosine of the angle between them.
  SKF_COSINE = 1,
} skf_distance;

// What came of writing a gallery's embeddings to a file.
typedef struct skf_exported skf_exported;

// Which photos a query may find: those that meet every condition.
typedef struct skf_filter skf_filter;

// What came of bringing files into a gallery, or the embeddings of files.
typedef struct skf_ingested skf_ingested;

// Photos of a gallery as they were when it was made, sorted by id, from which one after another is taken.
typedef struct skf_list skf_list;

// The answer to a query.
typedef struct skf_matches skf_matches;

// A gallery, with its model where it has one.
typedef struct skf_retriever skf_retriever;

// How a gallery is opened. All zeros, as in `skf_options options = {0}`, are the ordinary options.
typedef struct skf_options {
  // Whether photos may be added and removed: one process at a time.
  bool writable;
  // How many images may be in the model at a time; 0 for one.
  uint32_t sessions;
  // Threads of each session; 0 for a fair share of the cores.
  uint32_t threads;
  // The share of its page, 0.2 to 1, that a drawing is made to fill before it is embedded; 0 for what the model's card
  // says, below 0 to take drawings as they are.
  float frame;
  // The most pixels of an image that is decoded; 0 for 64 megapixels.
  uint64_t max_pixels;
  // The path of ONNX Runtime's library, a text. Null for that of the environment variable ORT_DYLIB_PATH, or one beside the
  // program or this library, or the system's. A process has one: another path than that of the first call is an error.
  const char *onnxruntime;
  // Where the model runs, a text: `cpu`, `cuda` or `cuda:N`. Null for the processor.
  const char *device;
  // How often to look for what other processes have written to the gallery, in milliseconds, 10 to a day; 0 to look only where
  // skf_refresh is called.
  uint64_t follow_ms;
  // The file of a calibration (`sketchfind calibrate`), a text, by which hits and answers have scores. Null for none.
  const char *calibration;
  // Whether it is opened for writing by turns, in the place of `writable`: the lock is held while a change is made, which begins
  // with what others have written. SKF_LOCKED where somebody else is writing right then.
  bool by_turns;
  // For members to come: 0.
  uint64_t reserved[5];
} skf_options;

// The space of a gallery's embeddings, where it has no model to say so.
typedef struct skf_space {
  // How many numbers an embedding has, 1 to 1048576.
  size_t width;
  // By what they are compared: a value of skf_distance.
  uint32_t distance;
  // The model that makes them, a text of 64 hexadecimal digits (`sha256` of `sketchfind info`): files of embeddings by
  // another are refused then. Null where it is not named.
  const char *model_sha256;
  // For members to come: 0.
  uint64_t reserved[4];
} skf_space;

// What a gallery knows of a photo. In what the library gives out, texts live as long as it says there, labels are never null,
// and a null path or product is none.
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
  // The product that it shows, a text, which several photos may share (`skf_search_options.by_product`). Null is not given: a
  // photo that replaces another keeps its product. An empty text is to have none.
  const char *product;
  // For members to come: 0.
  uint64_t reserved[3];
} skf_photo;

// An image: a file's bytes, or pixels in sRGB, rows from the top. All zeros besides the bytes is a file.
typedef struct skf_image {
  // The bytes.
  const uint8_t *bytes;
  // How many there are.
  size_t n_bytes;
  // What they are: a value of skf_format.
  uint32_t format;
  // Of pixels, the width.
  uint32_t width;
  // Of pixels, the height.
  uint32_t height;
  // Of pixels, the bytes from the start of a row to the next; 0 where rows lie close together.
  size_t stride;
  // For members to come: 0.
  uint64_t reserved[4];
} skf_image;

// A photo that is to be in a gallery, and the file to read it from.
typedef struct skf_photo_file {
  // What the gallery shall know of it.
  struct skf_photo photo;
  // The file to read, a text. Null for the photo's path.
  const char *file;
  // For members to come: 0.
  uint64_t reserved[4];
} skf_photo_file;

// How files are brought into a gallery. All zeros are the ordinary options.
typedef struct skf_ingest_options {
  // Whether files that cannot be read are left out; otherwise the first of them is an error.
  bool leave_out_broken;
  // Whether a file takes the place of another picture from another file that has its id; otherwise it is an error.
  bool replace_other_sources;
  // Called from time to time with how many files are done, and of how many. Null for nobody.
  void (*progress)(void *user, size_t n_done, size_t n_files);
  // Asked from time to time whether the work is to stop. Null for nobody.
  bool (*is_cancelled)(void *user);
  // What the two functions are given.
  void *user;
  // For members to come: 0.
  uint64_t reserved[8];
} skf_ingest_options;

// How many files, or rows of files of embeddings, became what.
typedef struct skf_counts {
  // Photos that were not there.
  size_t n_added;
  // Photos that were there with another content, product, labels or path.
  size_t n_replaced;
  // Photos that were there as they are.
  size_t n_unchanged;
  // Of those added and replaced, how many needed no embedding because the same content was there; 0 of an import.
  size_t n_known;
} skf_counts;

// A file that was left out, or a row of a file of embeddings. Its texts live as long as what it is in.
typedef struct skf_left_out {
  // The id that it would have had.
  const char *id;
  // The file, or null where its path is no text, and of a row.
  const char *file;
  // What is wrong with it; names the file. Of a row, what its file says.
  const char *reason;
} skf_left_out;

// How files of embeddings are brought into a gallery. All zeros are the ordinary options, and so is a null pointer to it.
typedef struct skf_import_options {
  // Whether a photo that is there already with another embedding is replaced; otherwise that is an error.
  bool replace;
  // For members to come: 0.
  uint64_t reserved[6];
} skf_import_options;

// Who is told how far long work is, and who may stop it. All zeros is nobody, and so is a null pointer to it.
//
// The functions are called on the thread that called for the work, one at a time, some twenty times a second, and once at its
// beginning and end. They may not unwind, nor change the gallery.
typedef struct skf_work {
  // Called with how much is done, and of how much; of what, the function says that does the work. Null for nobody.
  void (*progress)(void *user, size_t n_done, size_t n_all);
  // Asked whether the work is to stop; it ends then with SKF_CANCELLED. Null for nobody.
  bool (*is_cancelled)(void *user);
  // What the two functions are given.
  void *user;
  // For members to come: 0.
  uint64_t reserved[4];
} skf_work;

// A drawing as pen movements. It is drawn in black on white, as evaluation and the server draw strokes.
typedef struct skf_strokes {
  // The width of the page, in the unit of the points, 1 to 100000.
  double width;
  // Its height.
  double height;
  // The points of all polylines in the order in which they were drawn, x and y of each; y grows downwards.
  const double *points;
  // The number of points, half of that of the numbers.
  size_t n_points;
  // For each time that the pen was down, how many of the points were drawn.
  const size_t *lengths;
  // The number of lengths.
  size_t n_polylines;
  // For members to come: 0.
  uint64_t reserved[4];
} skf_strokes;

// What is searched with: an image or strokes; the other one is null.
typedef struct skf_sketch {
  // The image.
  const struct skf_image *image;
  // Or the strokes.
  const struct skf_strokes *strokes;
  // For members to come: 0.
  uint64_t reserved[4];
} skf_sketch;

// How a query is answered. All zeros are the ordinary options, and so is a null pointer to it.
typedef struct skf_search_options {
  // The candidates that a graph is searched with, 1 to 100000: more find more of the nearest and take longer. 0 for those of
  // the gallery. Where there is no graph, or a filter, a search is exact with any number.
  uint32_t ef;
  // Whether graphs are left alone, and every photo is looked at.
  bool exact;
  // Whether products are found in the place of photos, each by the nearest of its photos that pass the filter, so that `k` counts
  // products. A photo without a product is one of its own.
  bool by_product;
  // How likely, up to 1, it has to be that what was drawn is among the first ten; where it is not, nothing fits, and the answer
  // is empty. Below 0 for what the calibration proposes, 0 for no such limit. Another value than 0 needs
  // `skf_options.calibration`.
  double min_score;
  // For members to come: 0.
  uint64_t reserved[6];
} skf_search_options;

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
  // The number of its labels.
  size_t n_labels;
  // Its labels, sorted.
  const char *const *labels;
  // The probability, 0 to 1, that it is the photo that was drawn, by `skf_options.calibration`: of the first ten of an answer.
  // NaN of the others, and where there is no calibration.
  double score;
  // The product that it shows, or null where the gallery knows of none. In a search by product the others of its photos are left
  // out, and the score is that of all of them.
  const char *product;
} skf_match;

// What a copy of a gallery is made of.
typedef struct skf_copied {
  // The number of photos in it.
  size_t n_photos;
  // The number of files that it shares with the original.
  size_t n_shared;
  // The number of files that are its own.
  size_t n_own;
  // For members to come: 0.
  uint64_t reserved[4];
} skf_copied;

// How many of the nearest the gallery's graphs find, on a sample of its own photos.
typedef struct skf_recall {
  // Whether there is a graph. Without one search is exact: nothing was measured, and all else is 0.
  bool is_measured;
  // How many of the nearest were asked for.
  uint64_t k;
  // Photos in the sample.
  uint64_t n_queries;
  // Photos in the gallery.
  uint64_t n_photos;
  // The nearest of all queries together, by exact search.
  uint64_t n_nearest;
  // How many of them the graphs found.
  uint64_t n_found;
  // The share that was found, 0 to 1.
  double value;
  // For members to come: 0.
  uint64_t reserved[4];
} skf_recall;

// What came of embedding a model's probe anew.
typedef struct skf_verification {
  // Whether the embeddings are those that the model gave where it was made, `relative` being at most `tolerance`.
  bool passed;
  // The number of images in the probe.
  size_t n_images;
  // The largest absolute difference of a component.
  double largest_difference;
  // The largest absolute component of the probe's embeddings.
  double largest_component;
  // The difference as a share of the component.
  double relative;
  // The largest share that passes.
  double tolerance;
  // For members to come: 0.
  uint64_t reserved[4];
} skf_verification;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The version of this library.
const char *skf_version(void);

// The SKF_ABI of this library, to be compared with the header's by a program that loads it late.
uint32_t skf_abi(void);

// The message of this thread's last call that did not return SKF_OK, or an empty text. It lives until the thread's next
// call.
const char *skf_last_error(void);

// Makes an empty gallery at `path` of the model in the folder `model`, with an index of skf_index. A gallery that is
// there is replaced. Photos are framed as the model's card says.
//
// # Safety
// `path` and `model` are texts.
enum skf_status skf_create(const char *path,
                           const char *model,
                           uint32_t index);

// Opens the gallery at `path` and gives it out; skf_close frees it. `options` may be null. Of a gallery without a model the
// options of a model's matters count for nothing; a calibration, which is of a model, is SKF_NO_MODEL.
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

// Sees what other processes have written since the gallery was opened for reading; `is_new` is told whether there was
// anything, unless it is null. SKF_BAD_FILE where the gallery was replaced by one of another model, which has to be opened
// anew.
//
// # Safety
// `retriever` is a live handle, `is_new` is null or may be written.
enum skf_status skf_refresh(const struct skf_retriever *retriever,
                            bool *is_new);

// Makes an empty gallery at `path` that has no model, with an index of skf_index: its photos are embeddings that are ready
// (skf_add_embeddings, skf_import), and it is asked with such (skf_query_embeddings). A gallery that is there is replaced.
// skf_open opens it as any other; what takes a picture is SKF_NO_MODEL there.
//
// # Safety
// `path` is a text, `space` points to a space whose text is null or a text.
enum skf_status skf_create_without_model(const char *path,
                                         const struct skf_space *space,
                                         uint32_t index);

// Adds a photo and its file's bytes. With `replace` it takes the place of the photo that has its id, and keeps its labels,
// path and product where they are not given. When this returns SKF_OK the photo is on the disk.
//
// # Safety
// `retriever` is a live handle, `photo` points to a photo whose members are as it says, `bytes` points to `n_bytes`
// bytes.
enum skf_status skf_add(const struct skf_retriever *retriever,
                        const struct skf_photo *photo,
                        const uint8_t *bytes,
                        size_t n_bytes,
                        bool replace);

// Adds a photo and its image; otherwise as skf_add.
//
// # Safety
// As of skf_add, with `image` pointing to an image whose bytes are as it says.
enum skf_status skf_add_image(const struct skf_retriever *retriever,
                              const struct skf_photo *photo,
                              const struct skf_image *image,
                              bool replace);

// Adds `n` photos with their images, all or none, much faster than one after another. Their pixels are all in memory
// meanwhile; for many files there is skf_ingest. Otherwise as skf_add; the message of an error names the photo.
//
// # Safety
// As of skf_add, with `photos` pointing to `n` photos and `images` to as many images, whose members are as they say.
enum skf_status skf_add_batch(const struct skf_retriever *retriever,
                              const struct skf_photo *photos,
                              const struct skf_image *images,
                              size_t n,
                              bool replace);

// Adds `n` photos whose embeddings are ready, `n` times `width` numbers in `embeddings`, one photo's after another's, all or none.
// `width` is what skf_width says. Where the gallery has a model it has made them, of photos as the gallery frames them; nobody
// can check that. With `replace` they take the places of those that have their ids, and keep labels, paths and products that
// are not given. When this returns SKF_OK they are on the disk.
//
// # Safety
// `retriever` is a live handle, `photos` points to `n` photos whose members are as they say, `embeddings` to `n` times `width`
// numbers.
enum skf_status skf_add_embeddings(const struct skf_retriever *retriever,
                                   const struct skf_photo *photos,
                                   const float *embeddings,
                                   size_t n,
                                   size_t width,
                                   bool replace);

// Removes the photos of `n_ids` ids in one step and writes how many were there to `n_removed`, which may be null.
//
// # Safety
// `retriever` is a live handle, `ids` points to `n_ids` texts, `n_removed` is null or may be written.
enum skf_status skf_remove(const struct skf_retriever *retriever,
                           const char *const *ids,
                           size_t n_ids,
                           size_t *n_removed);

// Brings `n_files` files into the gallery: those that are not in it, and those whose content, product, labels or path have changed.
// Files are read a few at a time, on all threads. Every few hundred photos the gallery keeps what was done, and also when this
// ends with an error or is cancelled, so that the same call goes on where it was. `options` may be null, and so may `out`;
// what it is given skf_ingested_free frees.
//
// The functions of the options are called on the thread that calls this, one at a time. They may not unwind, nor use the
// retriever to change the gallery.
//
// # Safety
// `retriever` is a live handle, `files` points to `n_files` files whose members are as they say, `options` is null or points
// to options whose functions may be called with its `user`, `out` is null or may be written.
enum skf_status skf_ingest(const struct skf_retriever *retriever,
                           const struct skf_photo_file *files,
                           size_t n_files,
                           const struct skf_ingest_options *options,
                           struct skf_ingested **out);

// Brings all photos below `folder` into the gallery, under their paths relative to it as ids, `/` between their parts;
// otherwise as skf_ingest. What looks like a photo and cannot be read is told as what is left out, or is an
// error, as the options say.
//
// # Safety
// As of skf_ingest, with `folder` a text.
enum skf_status skf_ingest_folder(const struct skf_retriever *retriever,
                                  const char *folder,
                                  const struct skf_ingest_options *options,
                                  struct skf_ingested **out);

// How many files became what, or null for null. It lives as long as what it is of.
//
// # Safety
// `ingested` is null or a live handle.
const struct skf_counts *skf_ingested_counts(const struct skf_ingested *ingested);

// The number of files, or rows, that were left out; 0 for null.
//
// # Safety
// `ingested` is null or a live handle.
size_t skf_ingested_left_out_len(const struct skf_ingested *ingested);

// The file, or row, that was left out at a place from 0, or null beyond the last. It lives as long as what it is of.
//
// # Safety
// `ingested` is null or a live handle.
const struct skf_left_out *skf_ingested_left_out_at(const struct skf_ingested *ingested,
                                                    size_t place);

// The number of columns of imported Parquet files that the schema does not know, and that were not read; 0 for null.
//
// # Safety
// `ingested` is null or a live handle.
size_t skf_ingested_unread_columns_len(const struct skf_ingested *ingested);

// The name of such a column, at a place from 0, or null beyond the last. It lives as long as what it is of.
//
// # Safety
// `ingested` is null or a live handle.
const char *skf_ingested_unread_columns_at(const struct skf_ingested *ingested,
                                           size_t place);

// Frees what came of bringing files, or embeddings, into a gallery. Null is nothing to free.
//
// # Safety
// `ingested` is null or was given out by skf_ingest, skf_ingest_folder or skf_import, and nobody uses it or its texts any more.
void skf_ingested_free(struct skf_ingested *ingested);

// Brings the embeddings of a file, or of all such files in a folder, into the gallery: `X.npy`, whose ids are in `X.csv` beside
// it, and `X.parquet`, which have labels, paths and products too (docs/embedding-files.md). Those that are there already stay. `work` is
// told of photos. `options`, `work` and `out` may be null; what `out` is given skf_ingested_free frees. A row that says why it
// has no embedding is told there as left out.
//
// All is read and checked before anything is changed. Then every few thousand photos are kept, and also when this ends with an
// error or is cancelled, so that the same call goes on where it was.
//
// # Safety
// `retriever` is a live handle, `path` is a text, `options` is null or points to options, `work` is null or points to work
// whose functions may be called with its `user`, `out` is null or may be written.
enum skf_status skf_import(const struct skf_retriever *retriever,
                           const char *path,
                           const struct skf_import_options *options,
                           const struct skf_work *work,
                           struct skf_ingested **out);

// Writes the gallery's embeddings to a file, whole or not at all: `X.npy` with the ids in `X.csv` beside it, or `X.parquet` with
// labels, paths, products and the model too. `work` is told of photos. `work` and `out` may be null; what `out` is given
// skf_exported_free frees.
//
// # Safety
// `retriever` is a live handle, `path` is a text, `work` is null or points to work whose functions may be called with its
// `user`, `out` is null or may be written.
enum skf_status skf_export(const struct skf_retriever *retriever,
                           const char *path,
                           const struct skf_work *work,
                           struct skf_exported **out);

// The number of photos that were written; 0 for null.
//
// # Safety
// `exported` is null or a live handle.
size_t skf_exported_len(const struct skf_exported *exported);

// The number of photos that were written to a Parquet file without their path, because it is no text; 0 for null.
//
// # Safety
// `exported` is null or a live handle.
size_t skf_exported_without_path_len(const struct skf_exported *exported);

// The id of such a photo, at a place from 0, or null beyond the last. It lives as long as what it is of.
//
// # Safety
// `exported` is null or a live handle.
const char *skf_exported_without_path_at(const struct skf_exported *exported,
                                         size_t place);

// Frees what came of an export. Null is nothing to free.
//
// # Safety
// `exported` is null or was given out by skf_export, and nobody uses it or its texts any more.
void skf_exported_free(struct skf_exported *exported);

// Begins a list of all photos that pass `filter`, which may be null, and gives it out; skf_list_free frees it. It holds what
// the gallery was at that moment, whatever changes meanwhile.
//
// # Safety
// `retriever` is a live handle, `filter` is null or a live handle, `out` may be written.
enum skf_status skf_list_all(const struct skf_retriever *retriever,
                             const struct skf_filter *filter,
                             struct skf_list **out);

// Begins a list of the one photo of an id, or of none where the gallery does not have it; otherwise as skf_list_all.
//
// # Safety
// `retriever` is a live handle, `id` is a text, `out` may be written.
enum skf_status skf_get(const struct skf_retriever *retriever,
                        const char *id,
                        struct skf_list **out);

// The next photo of a list, or null at its end, or where skf_last_error has a message. It and its texts live until the next
// call with the list.
//
// # Safety
// `list` is null or a live handle that nobody else uses.
const struct skf_photo *skf_list_next(struct skf_list *list);

// The embedding of the photo that skf_list_next gave last, as many numbers as skf_width says, or null where there is none. It
// lives as long as the list.
//
// # Safety
// `list` is null or a live handle.
const float *skf_list_embedding(const struct skf_list *list);

// Frees a list. Null is nothing to free.
//
// # Safety
// `list` is null or was given out by skf_list_all or skf_get, and nobody uses it or what it gave any more.
void skf_list_free(struct skf_list *list);

// A filter that every photo passes; skf_filter_free frees it. Null only where memory is short.
struct skf_filter *skf_filter_new(void);

// Lets only photos of these ids pass.
//
// # Safety
// `filter` is a live handle that nobody else uses, `ids` points to `n` texts.
enum skf_status skf_filter_only_ids(struct skf_filter *filter, const char *const *ids, size_t n);

// Lets no photo of these ids pass.
//
// # Safety
// `filter` is a live handle that nobody else uses, `ids` points to `n` texts.
enum skf_status skf_filter_without_ids(struct skf_filter *filter, const char *const *ids, size_t n);

// Lets only photos of these products pass.
//
// # Safety
// `filter` is a live handle that nobody else uses, `products` points to `n` texts.
enum skf_status skf_filter_only_products(struct skf_filter *filter,
                                         const char *const *products,
                                         size_t n);

// Lets no photo of these products pass.
//
// # Safety
// `filter` is a live handle that nobody else uses, `products` points to `n` texts.
enum skf_status skf_filter_without_products(struct skf_filter *filter,
                                            const char *const *products,
                                            size_t n);

// Lets only photos with at least one of these labels pass. A second call is a second condition.
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

// Finds the `k` photos that match a drawing that is an image; otherwise as skf_query.
//
// # Safety
// As of skf_query, with `image` pointing to an image whose bytes are as it says.
enum skf_status skf_query_image(const struct skf_retriever *retriever,
                                const struct skf_image *image,
                                size_t k,
                                const struct skf_filter *filter,
                                struct skf_matches **out);

// Finds the `k` photos that match a drawing that is strokes; otherwise as skf_query.
//
// # Safety
// As of skf_query, with `strokes` pointing to strokes whose pointers are as it says.
enum skf_status skf_query_strokes(const struct skf_retriever *retriever,
                                  const struct skf_strokes *strokes,
                                  size_t k,
                                  const struct skf_filter *filter,
                                  struct skf_matches **out);

// Finds for each of `n_sketches` sketches the `k` photos that match it, all of one state of the gallery, faster than one
// after another. `out` has room for as many answers, each of which skf_matches_free frees. All are answered or none: the
// message of an error says at which sketch, from 1.
//
// # Safety
// As of skf_query, with `sketches` pointing to `n_sketches` sketches, whose pointers are as they say, and `out` to room for
// as many answers.
enum skf_status skf_query_many(const struct skf_retriever *retriever,
                               const struct skf_sketch *sketches,
                               size_t n_sketches,
                               size_t k,
                               const struct skf_filter *filter,
                               struct skf_matches **out);

// Finds the `k` photos that match a drawing, an image or strokes, as `options` say, which may be null; otherwise as skf_query.
//
// # Safety
// As of skf_query, with `sketch` pointing to a sketch whose pointers are as it says, and `options` null or pointing to options.
enum skf_status skf_query_with(const struct skf_retriever *retriever,
                               const struct skf_sketch *sketch,
                               size_t k,
                               const struct skf_filter *filter,
                               const struct skf_search_options *options,
                               struct skf_matches **out);

// Answers as `options` say, which may be null; otherwise as skf_query_many.
//
// # Safety
// As of skf_query_many, with `options` null or pointing to options.
enum skf_status skf_query_many_with(const struct skf_retriever *retriever,
                                    const struct skf_sketch *sketches,
                                    size_t n_sketches,
                                    size_t k,
                                    const struct skf_filter *filter,
                                    const struct skf_search_options *options,
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

// Finds for each of `n` embeddings, `n` times `width` numbers, the `k` photos nearest to it, all of one state of the gallery, as
// `options` say, which may be null. `width` is what skf_width says. `out` has room for `n` answers, each of which
// skf_matches_free frees; all are answered or none. Otherwise as skf_query.
//
// # Safety
// As of skf_query, with `embeddings` pointing to `n` times `width` numbers, `options` null or pointing to options, and `out` to
// room for `n` answers.
enum skf_status skf_query_embeddings(const struct skf_retriever *retriever,
                                     const float *embeddings,
                                     size_t n,
                                     size_t width,
                                     size_t k,
                                     const struct skf_filter *filter,
                                     const struct skf_search_options *options,
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

// The probability, 0 to 1, that what was drawn is among the first ten matches, by `skf_options.calibration`; also where nothing
// fits, and there are therefore no matches. NaN for null, where nothing was found, and where there is no calibration.
//
// # Safety
// `matches` is null or a live answer.
double skf_matches_score(const struct skf_matches *matches);

// Why there are no matches, in words, or null where there are some, or none were asked for. It lives as long as the answer.
//
// # Safety
// `matches` is null or a live answer.
const char *skf_matches_nothing(const struct skf_matches *matches);

// Why there are no matches, in a word for programs: `empty_gallery`, `no_such_label`, `no_such_product`, `no_such_id`, `filter`,
// or `no_fit`, which is that the score is below `skf_search_options.min_score`. Otherwise as skf_matches_nothing.
//
// # Safety
// `matches` is null or a live answer.
const char *skf_matches_nothing_code(const struct skf_matches *matches);

// Frees an answer. Null is nothing to free.
//
// # Safety
// `matches` is null or was given out by a query, and nobody uses it or its texts any more.
void skf_matches_free(struct skf_matches *matches);

// Writes the embedding of the image whose file's bytes are given to `out`, which has room for `n_out` numbers, as many
// as skf_width says. The image is taken as it is: not framed as queries and photos are.
//
// # Safety
// `retriever` is a live handle, `bytes` points to `n_bytes` bytes, `out` to `n_out` numbers that may be written.
enum skf_status skf_embed(const struct skf_retriever *retriever,
                          const uint8_t *bytes,
                          size_t n_bytes,
                          float *out,
                          size_t n_out);

// Writes the embedding of an image; otherwise as skf_embed.
//
// # Safety
// As of skf_embed, with `image` pointing to an image whose bytes are as it says.
enum skf_status skf_embed_image(const struct skf_retriever *retriever,
                                const struct skf_image *image,
                                float *out,
                                size_t n_out);

// Writes the embedding of a drawing, framed as that of a query; otherwise as skf_embed. skf_query_embedding finds with it what
// a query with the drawing finds.
//
// # Safety
// As of skf_embed, with `sketch` pointing to a sketch whose pointers are as it says.
enum skf_status skf_embed_sketch(const struct skf_retriever *retriever,
                                 const struct skf_sketch *sketch,
                                 float *out,
                                 size_t n_out);

// Writes a copy of the gallery at `from` to `to`, whole or not at all, as it was acknowledged at one moment, whoever writes it
// meanwhile. Files that never change are hard links where the file system can. A gallery that is at `to` is SKF_BAD_FILE, or
// with `replace` replaced. `copied` may be null.
//
// # Safety
// `from` and `to` are texts, `copied` is null or may be written.
enum skf_status skf_copy(const char *from,
                         const char *to,
                         bool replace,
                         struct skf_copied *copied);

// Gives back the space of removed photos and brings the index up to date.
//
// # Safety
// `retriever` is a live handle.
enum skf_status skf_compact(const struct skf_retriever *retriever);

// As skf_compact; `work`, which may be null, is told of photos that are in the graph, where one is built. Once it has begun, the
// space is given back also where it is cancelled; searches are exact then until the graph is built, here or where the gallery
// is next opened.
//
// # Safety
// `retriever` is a live handle, `work` is null or points to work whose functions may be called with its `user`.
enum skf_status skf_compact_with(const struct skf_retriever *retriever,
                                 const struct skf_work *work);

// Chooses another index for the gallery, a value of skf_index. It is built when the gallery is next compacted, or opened.
//
// # Safety
// `retriever` is a live handle.
enum skf_status skf_set_index(const struct skf_retriever *retriever,
                              uint32_t index);

// Measures how many of the ten nearest the gallery's graphs find. A gallery that is open for writing keeps it. `work`, which may
// be null, is told of photos of the sample, of which there are at most 200.
//
// # Safety
// `retriever` is a live handle, `work` is null or points to work whose functions may be called with its `user`, `out` may be
// written.
enum skf_status skf_measure_recall(const struct skf_retriever *retriever,
                                   const struct skf_work *work,
                                   struct skf_recall *out);

// Embeds the images that come along with the model in the folder `model` (of a gallery, its folder `model`), and compares with the
// embeddings that it gave where it was made. A difference is no error, but said in `out`, which may be null. Of `options`,
// which may be null, `device` and `onnxruntime` count.
//
// # Safety
// `model` is a text, `options` is null or points to options, `out` is null or may be written.
enum skf_status skf_verify(const char *model,
                           const struct skf_options *options,
                           struct skf_verification *out);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SKETCHFIND_H */
