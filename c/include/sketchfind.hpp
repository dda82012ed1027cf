// sketchfind for C++17: the C interface of sketchfind.h with handles that free themselves, and errors that are thrown.
//
// There is no more to link than the C library. A Retriever may be used by any number of threads at once, everything else by
// one at a time. Views (View, Image) do not own what they show, which has to live as long as the call that takes them.
#ifndef SKETCHFIND_HPP
#define SKETCHFIND_HPP

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "sketchfind.h"

namespace sketchfind {

/// What a call that failed says: its words, and a code for programs.
class Error : public std::runtime_error {
 public:
  Error(skf_status status, const std::string &words) : std::runtime_error(words), status_(status) {}
  skf_status status() const noexcept { return status_; }

 private:
  skf_status status_;
};

/// Values in a row that somebody else owns: a vector, an array, or an address and a number.
template <typename T>
class View {
 public:
  View() = default;
  View(const T *data, std::size_t size) : data_(data), size_(size) {}
  View(const std::vector<T> &values) : data_(values.data()), size_(values.size()) {}
  template <std::size_t N>
  View(const T (&values)[N]) : data_(values), size_(N) {}
  const T *data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }
  const T *begin() const noexcept { return data_; }
  const T *end() const noexcept { return data_ + size_; }

 private:
  const T *data_ = nullptr;
  std::size_t size_ = 0;
};

namespace detail {

inline void check(skf_status status) {
  if (status != SKF_OK) throw Error(status, skf_last_error());
}

/// The addresses of texts, not null though there are none: no labels is something else than labels that are not given.
class Texts {
 public:
  explicit Texts(const std::vector<std::string> &texts) {
    for (const std::string &text : texts) addresses_.push_back(text.c_str());
    addresses_.push_back(nullptr);
  }
  const char *const *data() const noexcept { return addresses_.data(); }
  std::size_t size() const noexcept { return addresses_.size() - 1; }

 private:
  std::vector<const char *> addresses_;
};

inline std::vector<std::string> copied(const char *const *texts, std::size_t n) {
  return n == 0 ? std::vector<std::string>() : std::vector<std::string>(texts, texts + n);
}

inline std::optional<std::string> copied(const char *text) {
  return text == nullptr ? std::nullopt : std::optional<std::string>(text);
}

inline const char *address(const std::optional<std::string> &text) { return text ? text->c_str() : nullptr; }

inline std::optional<double> number(double value) {
  return std::isnan(value) ? std::nullopt : std::optional<double>(value);
}

template <typename Handle, void (*release)(Handle *)>
struct Release {
  void operator()(Handle *handle) const noexcept { release(handle); }
};

template <typename Handle, void (*release)(Handle *)>
using Owned = std::unique_ptr<Handle, Release<Handle, release>>;

}  // namespace detail

/// An image that somebody else owns: a file's bytes, or pixels in sRGB, rows from the top. `stride` is the number of bytes from
/// the start of a row to the next, 0 where rows lie close together.
class Image {
 public:
  /// A file: JPEG, PNG, WebP, GIF, BMP or TIFF.
  static Image encoded(View<std::uint8_t> bytes) { return Image(bytes, SKF_ENCODED, 0, 0, 0); }
  static Image grey(View<std::uint8_t> bytes, std::uint32_t width, std::uint32_t height, std::size_t stride = 0) {
    return Image(bytes, SKF_GREY8, width, height, stride);
  }
  static Image rgb(View<std::uint8_t> bytes, std::uint32_t width, std::uint32_t height, std::size_t stride = 0) {
    return Image(bytes, SKF_RGB8, width, height, stride);
  }
  /// The colours are not multiplied by the opacity.
  static Image rgba(View<std::uint8_t> bytes, std::uint32_t width, std::uint32_t height, std::size_t stride = 0) {
    return Image(bytes, SKF_RGBA8, width, height, stride);
  }
  const skf_image &get() const noexcept { return image_; }

 private:
  Image(View<std::uint8_t> bytes, skf_format format, std::uint32_t width, std::uint32_t height, std::size_t stride) {
    image_.bytes = bytes.data();
    image_.n_bytes = bytes.size();
    image_.format = format;
    image_.width = width;
    image_.height = height;
    image_.stride = stride;
  }
  skf_image image_{};
};

/// A place on a page; y grows downwards.
struct Point {
  double x;
  double y;
};

/// A drawing as pen movements on a page of a size.
class Strokes {
 public:
  Strokes(double width, double height) : width_(width), height_(height) {}
  /// What was drawn while the pen was down once.
  Strokes &line(View<Point> points) {
    for (const Point &point : points) {
      numbers_.push_back(point.x);
      numbers_.push_back(point.y);
    }
    lengths_.push_back(points.size());
    return *this;
  }
  Strokes &line(std::initializer_list<Point> points) { return line(View<Point>(points.begin(), points.size())); }
  /// As the C interface has it, as long as this lives and is not changed.
  skf_strokes get() const noexcept {
    skf_strokes strokes{};
    strokes.width = width_;
    strokes.height = height_;
    strokes.points = numbers_.data();
    strokes.n_points = numbers_.size() / 2;
    strokes.lengths = lengths_.data();
    strokes.n_polylines = lengths_.size();
    return strokes;
  }

 private:
  double width_, height_;
  std::vector<double> numbers_;
  std::vector<std::size_t> lengths_;
};

/// What is searched with: an image or strokes.
class Sketch {
 public:
  Sketch(const Image &image) : is_image_(true), image_(image.get()) {}
  Sketch(const Strokes &strokes) : is_image_(false), strokes_(strokes.get()) {}
  /// As the C interface has it, as long as this lives.
  skf_sketch get() const noexcept {
    skf_sketch sketch{};
    if (is_image_) {
      sketch.image = &image_;
    } else {
      sketch.strokes = &strokes_;
    }
    return sketch;
  }

 private:
  bool is_image_;
  skf_image image_{};
  skf_strokes strokes_{};
};

/// What a gallery knows of a photo. What is not given stays as it is where a photo replaces another.
struct Photo {
  explicit Photo(std::string its_id) : id(std::move(its_id)) {}
  Photo(std::string its_id, std::vector<std::string> its_labels) : id(std::move(its_id)), labels(std::move(its_labels)) {}
  std::string id;
  std::optional<std::vector<std::string>> labels;
  /// The path of its file as it shall be found.
  std::optional<std::string> path;
  /// The product that it shows, which several photos may share; an empty text is to have none.
  std::optional<std::string> product;
};

/// A photo that matches a query.
struct Match {
  std::string id;
  std::optional<std::string> path;
  std::vector<std::string> labels;
  /// Smaller is more alike.
  double distance;
  /// From 1.
  std::uint32_t rank;
  /// The probability that it is the photo that was drawn: of the first ten, where there is a calibration.
  std::optional<double> score;
  /// The product that it shows. In a search by product the score is that of all of its photos.
  std::optional<std::string> product;
};

/// The answer to a query: matches, the best first, and where there are none, why.
struct Answer {
  std::vector<Match> matches;
  /// In words.
  std::optional<std::string> nothing;
  /// For programs: `empty_gallery`, `no_such_label`, `no_such_product`, `no_such_id`, `filter` or `no_fit`.
  std::optional<std::string> nothing_code;
  /// The probability that what was drawn is among the first ten, where there is a calibration; also where nothing fits.
  std::optional<double> score;
  std::size_t size() const noexcept { return matches.size(); }
  bool empty() const noexcept { return matches.empty(); }
  const Match &operator[](std::size_t place) const { return matches[place]; }
  std::vector<Match>::const_iterator begin() const noexcept { return matches.begin(); }
  std::vector<Match>::const_iterator end() const noexcept { return matches.end(); }
};

/// Which photos a query may find: those that meet every condition.
class Filter {
 public:
  Filter() : filter_(skf_filter_new()) {
    if (!filter_) throw std::bad_alloc();
  }
  Filter &only_ids(const std::vector<std::string> &ids) { return narrow(skf_filter_only_ids, ids); }
  Filter &without_ids(const std::vector<std::string> &ids) { return narrow(skf_filter_without_ids, ids); }
  Filter &only_products(const std::vector<std::string> &products) { return narrow(skf_filter_only_products, products); }
  Filter &without_products(const std::vector<std::string> &products) {
    return narrow(skf_filter_without_products, products);
  }
  Filter &any_label(const std::vector<std::string> &labels) { return narrow(skf_filter_any_label, labels); }
  Filter &every_label(const std::vector<std::string> &labels) { return narrow(skf_filter_every_label, labels); }
  Filter &without_label(const std::vector<std::string> &labels) { return narrow(skf_filter_without_label, labels); }
  const skf_filter *get() const noexcept { return filter_.get(); }

 private:
  Filter &narrow(skf_status (*how)(skf_filter *, const char *const *, std::size_t), const std::vector<std::string> &given) {
    const detail::Texts texts(given);
    detail::check(how(filter_.get(), texts.data(), texts.size()));
    return *this;
  }
  detail::Owned<skf_filter, skf_filter_free> filter_;
};

/// How a query is answered. What is not set is ordinary.
struct SearchOptions {
  /// The candidates that a graph is searched with, 1 to 100000; 0 for those of the gallery.
  std::uint32_t ef = 0;
  /// Whether graphs are left alone, and every photo is looked at.
  bool exact = false;
  /// Whether products are found in the place of photos, each by the nearest of its photos.
  bool by_product = false;
  /// How likely, up to 1, it has to be that what was drawn is among the first ten; otherwise nothing fits. Below 0 for what the
  /// calibration proposes, 0 for no such limit.
  double min_score = 0;
  /// As the C interface has it.
  skf_search_options get() const noexcept {
    skf_search_options options{};
    options.ef = ef;
    options.exact = exact;
    options.by_product = by_product;
    options.min_score = min_score;
    return options;
  }
};

/// How a gallery is opened. What is not set is ordinary.
struct Options {
  /// Whether photos may be added and removed: one process at a time.
  bool writable = false;
  /// How many images may be in the model at a time; 0 for one.
  std::uint32_t sessions = 0;
  /// Threads of each session; 0 for a fair share of the cores.
  std::uint32_t threads = 0;
  /// The most pixels of an image that is decoded; 0 for 64 megapixels.
  std::uint64_t max_pixels = 0;
  /// The share of its page that a drawing is made to fill; 0 for what the model's card says, below 0 to take it as it is.
  float frame = 0;
  /// ONNX Runtime's library.
  std::optional<std::string> onnxruntime;
  /// `cpu`, `cuda` or `cuda:N`.
  std::optional<std::string> device;
  /// How often to look for what other processes have written, in milliseconds, 10 to a day; 0 to look only where refresh is called.
  std::uint64_t follow_ms = 0;
  /// The file of a calibration, by which hits and answers have scores.
  std::optional<std::string> calibration;
  /// Whether it is opened for writing by turns with others, in the place of `writable`.
  bool by_turns = false;
  /// As the C interface has it, as long as this lives and is not changed.
  skf_options get() const noexcept {
    skf_options given{};
    given.writable = writable;
    given.sessions = sessions;
    given.threads = threads;
    given.max_pixels = max_pixels;
    given.frame = frame;
    given.onnxruntime = detail::address(onnxruntime);
    given.device = detail::address(device);
    given.follow_ms = follow_ms;
    given.calibration = detail::address(calibration);
    given.by_turns = by_turns;
    return given;
  }
};

/// The space of embeddings, where a gallery has no model to say so.
struct Space {
  explicit Space(std::size_t its_width, skf_distance its_distance = SKF_MSE) : width(its_width), distance(its_distance) {}
  std::size_t width;
  skf_distance distance;
  /// The model that makes them, 64 hexadecimal digits, where it is named: files of embeddings by another are refused then.
  std::optional<std::string> model_sha256;
};

/// Who is told how far long work is, and who may stop it. Either is called on the calling thread; what either throws stops the
/// work, and is thrown on.
struct Work {
  /// Called with how much is done, and of how much.
  std::function<void(std::size_t, std::size_t)> progress;
  /// Asked whether the work is to stop.
  std::function<bool()> is_cancelled;
};

/// A photo that is to be in a gallery, and the file to read it from.
struct PhotoFile {
  Photo photo;
  std::string file;
};

/// How files are brought into a gallery.
struct IngestOptions {
  /// Whether files that cannot be read are left out; otherwise the first of them is an error.
  bool leave_out_broken = false;
  /// Whether a file takes the place of another picture from another file that has its id; otherwise it is an error.
  bool replace_other_sources = false;
  /// Called from time to time, on the calling thread, with how many files are done, and of how many.
  std::function<void(std::size_t, std::size_t)> progress;
  /// Asked from time to time, on the calling thread, whether the work is to stop. What either throws stops it too, and is thrown
  /// on.
  std::function<bool()> is_cancelled;
};

/// How files of embeddings are brought into a gallery.
struct ImportOptions {
  /// Whether a photo that is there already with another embedding is replaced; otherwise that is an error.
  bool replace = false;
};

/// A file that was left out, or a row of a file of embeddings.
struct LeftOut {
  std::string id;
  std::optional<std::string> file;
  std::string reason;
};

/// What came of bringing files, or embeddings, into a gallery.
struct Ingested {
  std::size_t n_added, n_replaced, n_unchanged, n_known;
  std::vector<LeftOut> left_out;
  /// Columns of imported Parquet files that were not read, because nobody knows them.
  std::vector<std::string> unread_columns;
};

/// What came of writing embeddings to a file.
struct Exported {
  std::size_t n_photos;
  /// Ids of photos whose path is no text, and was left out.
  std::vector<std::string> without_path;
};

/// What a copy of a gallery is made of.
struct Copied {
  std::size_t n_photos;
  /// Files that it shares with the original, and its own.
  std::size_t n_shared, n_own;
};

/// How many of the `k` nearest a gallery's graphs find, on a sample of its own photos.
struct Recall {
  std::uint64_t k, n_queries, n_photos, n_nearest, n_found;
  /// The share that was found.
  double value;
};

/// What came of embedding a model's probe anew.
struct Verification {
  /// Whether the embeddings are those that the model gave where it was made, `relative` being at most `tolerance`.
  bool passed;
  std::size_t n_images;
  double largest_difference, largest_component, relative, tolerance;
};

/// Embeds the images that come along with a model, and compares with what it gave where it was made. Of the options `device` and
/// `onnxruntime` count.
inline Verification verify(const std::string &model, const Options &options = Options()) {
  const skf_options given = options.get();
  skf_verification found{};
  detail::check(skf_verify(model.c_str(), &given, &found));
  return {found.passed,   found.n_images, found.largest_difference, found.largest_component,
          found.relative, found.tolerance};
}

/// A gallery, with its model where it has one. What takes a picture is SKF_NO_MODEL where it has none.
class Retriever {
 public:
  /// Makes an empty gallery at `path` of the model in the folder `model`. A gallery that is there is replaced.
  static void create(const std::string &path, const std::string &model, skf_index index = SKF_AUTO) {
    detail::check(skf_create(path.c_str(), model.c_str(), index));
  }

  /// Makes an empty gallery at `path` that has no model: its photos and queries are embeddings that are ready.
  static void create_without_model(const std::string &path, const Space &space, skf_index index = SKF_AUTO) {
    skf_space given{};
    given.width = space.width;
    given.distance = space.distance;
    given.model_sha256 = detail::address(space.model_sha256);
    detail::check(skf_create_without_model(path.c_str(), &given, index));
  }
  /// Writes a copy of a gallery, as it was acknowledged at one moment, whoever writes it meanwhile. A gallery that is there is an
  /// error, or replaced.
  static Copied copy(const std::string &from, const std::string &to, bool replace = false) {
    skf_copied copied{};
    detail::check(skf_copy(from.c_str(), to.c_str(), replace, &copied));
    return {copied.n_photos, copied.n_shared, copied.n_own};
  }

  explicit Retriever(const std::string &path, const Options &options = Options()) {
    const skf_options given = options.get();
    skf_retriever *opened = nullptr;
    detail::check(skf_open(path.c_str(), &given, &opened));
    retriever_.reset(opened);
  }

  /// The number of photos.
  std::size_t size() const noexcept { return skf_len(get()); }
  /// The width of an embedding.
  std::size_t width() const noexcept { return skf_width(get()); }

  /// The `k` photos that match a drawing.
  Answer query(const Sketch &sketch, std::size_t k, const SearchOptions &options = SearchOptions()) const {
    return ask(sketch, k, nullptr, options);
  }
  /// The `k` photos that match a drawing, among those that pass a filter.
  Answer query(const Sketch &sketch, std::size_t k, const Filter &filter,
               const SearchOptions &options = SearchOptions()) const {
    return ask(sketch, k, filter.get(), options);
  }
  /// For each drawing the `k` photos that match it, all of one state of the gallery.
  std::vector<Answer> query_many(const std::vector<Sketch> &sketches, std::size_t k,
                                 const SearchOptions &options = SearchOptions()) const {
    return find(sketches, k, nullptr, options);
  }
  std::vector<Answer> query_many(const std::vector<Sketch> &sketches, std::size_t k, const Filter &filter,
                                 const SearchOptions &options = SearchOptions()) const {
    return find(sketches, k, filter.get(), options);
  }
  /// The `k` photos nearest to an embedding.
  Answer query_embedding(View<float> embedding, std::size_t k, const SearchOptions &options = SearchOptions()) const {
    return nearest(embedding, 1, k, nullptr, options).front();
  }
  Answer query_embedding(View<float> embedding, std::size_t k, const Filter &filter,
                         const SearchOptions &options = SearchOptions()) const {
    return nearest(embedding, 1, k, filter.get(), options).front();
  }
  /// For each embedding, of which one follows another, the `k` photos nearest to it, all of one state of the gallery.
  std::vector<Answer> query_embeddings(View<float> embeddings, std::size_t k,
                                       const SearchOptions &options = SearchOptions()) const {
    return nearest(embeddings, rows_of(embeddings), k, nullptr, options);
  }
  std::vector<Answer> query_embeddings(View<float> embeddings, std::size_t k, const Filter &filter,
                                       const SearchOptions &options = SearchOptions()) const {
    return nearest(embeddings, rows_of(embeddings), k, filter.get(), options);
  }

  /// The embedding of an image as it is.
  std::vector<float> embed(const Image &image) const {
    std::vector<float> embedding(width());
    detail::check(skf_embed_image(get(), &image.get(), embedding.data(), embedding.size()));
    return embedding;
  }
  /// The embedding of a drawing, framed as that of a query.
  std::vector<float> embed_sketch(const Sketch &sketch) const {
    std::vector<float> embedding(width());
    const skf_sketch given = sketch.get();
    detail::check(skf_embed_sketch(get(), &given, embedding.data(), embedding.size()));
    return embedding;
  }

  /// Adds a photo. When this returns it is on the disk.
  void add(const Photo &photo, const Image &image) { put({photo}, {image}, false); }
  /// Adds a photo in the place of the one that has its id, where there is one.
  void replace(const Photo &photo, const Image &image) { put({photo}, {image}, true); }
  /// Adds photos with their images, all or none.
  void add_batch(const std::vector<Photo> &photos, const std::vector<Image> &images) { put(photos, images, false); }
  void replace_batch(const std::vector<Photo> &photos, const std::vector<Image> &images) { put(photos, images, true); }
  /// Adds photos whose embeddings, of which one follows another, are ready; all or none.
  void add_embeddings(const std::vector<Photo> &photos, View<float> embeddings) { put(photos, embeddings, false); }
  void replace_embeddings(const std::vector<Photo> &photos, View<float> embeddings) { put(photos, embeddings, true); }
  /// Removes photos in one step, and returns how many of them were there.
  std::size_t remove(const std::vector<std::string> &ids) {
    const detail::Texts texts(ids);
    std::size_t n_removed = 0;
    detail::check(skf_remove(get(), texts.data(), texts.size(), &n_removed));
    return n_removed;
  }

  /// Brings files into the gallery. What was done before an error, or before it was cancelled, is kept.
  Ingested ingest(const std::vector<PhotoFile> &files, const IngestOptions &options = IngestOptions()) {
    std::vector<detail::Texts> labels;
    labels.reserve(files.size());
    std::vector<skf_photo_file> given;
    given.reserve(files.size());
    for (const PhotoFile &file : files) {
      skf_photo_file one{};
      one.photo = given_photo(file.photo, labels);
      one.file = file.file.c_str();
      given.push_back(one);
    }
    return ingested(options, [&](const skf_ingest_options *how, skf_ingested **out) {
      return skf_ingest(get(), given.data(), given.size(), how, out);
    });
  }
  /// Brings all photos below a folder into the gallery, under their paths relative to it as ids.
  Ingested ingest_folder(const std::string &folder, const IngestOptions &options = IngestOptions()) {
    return ingested(options, [&](const skf_ingest_options *how, skf_ingested **out) {
      return skf_ingest_folder(get(), folder.c_str(), how, out);
    });
  }

  /// Brings the embeddings of a file, or of the files in a folder, into the gallery: `X.npy` with ids in `X.csv`, or `X.parquet`. What
  /// was done before an error, or before it was cancelled, is kept. Rows that say why they have no embedding are left out.
  Ingested import_embeddings(const std::string &path, const ImportOptions &options = ImportOptions(),
                             const Work &work = Work()) {
    skf_import_options how{};
    how.replace = options.replace;
    OwnedIngested owned;
    // Owned at once: a program's function may have thrown though the work was done.
    watched(work, [&](const skf_work *watch) {
      skf_ingested *out = nullptr;
      const skf_status status = skf_import(get(), path.c_str(), &how, watch, &out);
      owned.reset(out);
      return status;
    });
    return ingested_of(owned);
  }
  /// Writes the gallery's embeddings to such a file, whole or not at all.
  Exported export_embeddings(const std::string &path, const Work &work = Work()) const {
    detail::Owned<skf_exported, skf_exported_free> owned;
    watched(work, [&](const skf_work *watch) {
      skf_exported *out = nullptr;
      const skf_status status = skf_export(get(), path.c_str(), watch, &out);
      owned.reset(out);
      return status;
    });
    Exported done{skf_exported_len(owned.get()), {}};
    for (std::size_t place = 0; place < skf_exported_without_path_len(owned.get()); place++) {
      done.without_path.push_back(skf_exported_without_path_at(owned.get(), place));
    }
    return done;
  }

  /// What the gallery knows of a photo, if it has it.
  std::optional<Photo> photo(const std::string &id) const {
    skf_list *list = nullptr;
    detail::check(skf_get(get(), id.c_str(), &list));
    std::optional<Photo> found;
    each(list, [&](const Photo &photo, View<float>) { found = photo; });
    return found;
  }
  /// Calls `visit` with each photo, sorted by id, and its embedding, which lives as long as the call.
  void for_each(const std::function<void(const Photo &, View<float>)> &visit) const { for_each(nullptr, visit); }
  void for_each(const Filter &filter, const std::function<void(const Photo &, View<float>)> &visit) const {
    for_each(filter.get(), visit);
  }

  /// Sees what other processes have written; whether there was anything.
  bool refresh() {
    bool is_new = false;
    detail::check(skf_refresh(get(), &is_new));
    return is_new;
  }
  /// Gives back the space of removed photos and brings the index up to date. Where it is cancelled, what lacks is the graph.
  void compact(const Work &work = Work()) {
    watched(work, [&](const skf_work *watch) { return skf_compact_with(get(), watch); });
  }
  /// Chooses another index, which is built when the gallery is next compacted, or opened.
  void set_index(skf_index index) { detail::check(skf_set_index(get(), index)); }
  /// How many of the nearest the gallery's graphs find; nothing where there is no graph, and search is exact.
  std::optional<Recall> measure_recall(const Work &work = Work()) {
    skf_recall found{};
    watched(work, [&](const skf_work *watch) { return skf_measure_recall(get(), watch, &found); });
    if (!found.is_measured) return std::nullopt;
    return Recall{found.k, found.n_queries, found.n_photos, found.n_nearest, found.n_found, found.value};
  }

  const skf_retriever *get() const noexcept { return retriever_.get(); }

 private:
  using OwnedMatches = detail::Owned<skf_matches, skf_matches_free>;
  using OwnedList = detail::Owned<skf_list, skf_list_free>;
  using OwnedIngested = detail::Owned<skf_ingested, skf_ingested_free>;

  static Answer answer_of(const skf_matches *found) {
    Answer answer;
    answer.matches.reserve(skf_matches_len(found));
    for (std::size_t place = 0; place < skf_matches_len(found); place++) {
      const skf_match &match = *skf_matches_at(found, place);
      answer.matches.push_back({match.id, detail::copied(match.path), detail::copied(match.labels, match.n_labels),
                                match.distance, match.rank, detail::number(match.score),
                                detail::copied(match.product)});
    }
    answer.score = detail::number(skf_matches_score(found));
    answer.nothing = detail::copied(skf_matches_nothing(found));
    answer.nothing_code = detail::copied(skf_matches_nothing_code(found));
    return answer;
  }

  /// Calls with room for `n` answers.
  template <typename Call>
  static std::vector<Answer> answers(std::size_t n, Call call) {
    std::vector<skf_matches *> found(n, nullptr);
    std::vector<OwnedMatches> owned(n);
    detail::check(call(found.data()));
    for (std::size_t i = 0; i < n; i++) owned[i].reset(found[i]);
    std::vector<Answer> answers;
    answers.reserve(n);
    for (const OwnedMatches &one : owned) answers.push_back(answer_of(one.get()));
    return answers;
  }

  Answer ask(const Sketch &sketch, std::size_t k, const skf_filter *filter, const SearchOptions &options) const {
    const skf_sketch given = sketch.get();
    const skf_search_options how = options.get();
    return answers(1, [&](skf_matches **out) { return skf_query_with(get(), &given, k, filter, &how, out); }).front();
  }

  std::vector<Answer> find(const std::vector<Sketch> &sketches, std::size_t k, const skf_filter *filter,
                           const SearchOptions &options) const {
    std::vector<skf_sketch> given;
    given.reserve(sketches.size());
    for (const Sketch &sketch : sketches) given.push_back(sketch.get());
    const skf_search_options how = options.get();
    return answers(given.size(), [&](skf_matches **out) {
      return skf_query_many_with(get(), given.data(), given.size(), k, filter, &how, out);
    });
  }

  /// How many embeddings numbers are; of a retriever that was moved away the C interface says so.
  std::size_t rows_of(View<float> embeddings) const noexcept {
    return width() == 0 ? 1 : embeddings.size() / width();
  }

  /// Of `n` embeddings.
  std::vector<Answer> nearest(View<float> embeddings, std::size_t n, std::size_t k, const skf_filter *filter,
                              const SearchOptions &options) const {
    const std::size_t each = n == 0 ? embeddings.size() : embeddings.size() / n;
    if (each * n != embeddings.size()) {
      throw Error(SKF_BAD_ARGUMENT, std::to_string(embeddings.size()) + " numbers of embeddings, expected whole rows of " +
                                        std::to_string(width()));
    }
    const skf_search_options how = options.get();
    return answers(n, [&](skf_matches **out) {
      return skf_query_embeddings(get(), embeddings.data(), n, each, k, filter, &how, out);
    });
  }

  /// The addresses of its labels are put into `labels`, which has room for them.
  static skf_photo given_photo(const Photo &photo, std::vector<detail::Texts> &labels) {
    skf_photo given{};
    given.id = photo.id.c_str();
    if (photo.labels) {
      labels.emplace_back(*photo.labels);
      given.labels = labels.back().data();
      given.n_labels = labels.back().size();
    }
    given.path = detail::address(photo.path);
    given.product = detail::address(photo.product);
    return given;
  }

  void put(const std::vector<Photo> &photos, View<float> embeddings, bool replace) {
    const std::size_t n = photos.size(), each = n == 0 ? 0 : embeddings.size() / n;
    if (each * n != embeddings.size()) {
      throw Error(SKF_BAD_ARGUMENT, std::to_string(embeddings.size()) + " numbers of " + std::to_string(n) +
                                        " embeddings, expected " + std::to_string(n * width()));
    }
    std::vector<detail::Texts> labels;
    labels.reserve(n);
    std::vector<skf_photo> given;
    for (const Photo &photo : photos) given.push_back(given_photo(photo, labels));
    detail::check(skf_add_embeddings(get(), given.data(), embeddings.data(), n, each, replace));
  }

  void put(const std::vector<Photo> &photos, const std::vector<Image> &images, bool replace) {
    if (photos.size() != images.size()) {
      throw Error(SKF_BAD_ARGUMENT, std::to_string(photos.size()) + " photos have " + std::to_string(images.size()) +
                                        " images, expected as many");
    }
    std::vector<detail::Texts> labels;
    labels.reserve(photos.size());
    std::vector<skf_photo> given;
    std::vector<skf_image> pictures;
    for (const Photo &photo : photos) given.push_back(given_photo(photo, labels));
    for (const Image &image : images) pictures.push_back(image.get());
    detail::check(skf_add_batch(get(), given.data(), pictures.data(), given.size(), replace));
  }

  /// A program's functions, and what one of them has thrown: nothing may unwind through the library.
  struct Watch {
    const std::function<void(std::size_t, std::size_t)> &told;
    const std::function<bool()> &asked;
    std::exception_ptr thrown;

    static void progress(void *user, std::size_t n_done, std::size_t n_all) {
      Watch &watch = *static_cast<Watch *>(user);
      if (!watch.told || watch.thrown) return;
      try {
        watch.told(n_done, n_all);
      } catch (...) {
        watch.thrown = std::current_exception();
      }
    }
    static bool is_cancelled(void *user) {
      Watch &watch = *static_cast<Watch *>(user);
      try {
        return watch.thrown || (watch.asked && watch.asked());
      } catch (...) {
        watch.thrown = std::current_exception();
        return true;
      }
    }
    void check(skf_status status) const {
      if (thrown) std::rethrow_exception(thrown);
      detail::check(status);
    }
  };

  template <typename Call>
  static void watched(const Work &work, Call call) {
    if (!work.progress && !work.is_cancelled) return detail::check(call(nullptr));
    Watch watch{work.progress, work.is_cancelled, nullptr};
    skf_work how{};
    how.progress = Watch::progress;
    how.is_cancelled = Watch::is_cancelled;
    how.user = &watch;
    watch.check(call(&how));
  }

  static Ingested ingested_of(const OwnedIngested &owned) {
    const skf_ingested *given = owned.get();
    const skf_counts &counts = *skf_ingested_counts(given);
    Ingested done{counts.n_added, counts.n_replaced, counts.n_unchanged, counts.n_known, {}, {}};
    for (std::size_t place = 0; place < skf_ingested_left_out_len(given); place++) {
      const skf_left_out &left_out = *skf_ingested_left_out_at(given, place);
      done.left_out.push_back({left_out.id, detail::copied(left_out.file), left_out.reason});
    }
    for (std::size_t place = 0; place < skf_ingested_unread_columns_len(given); place++) {
      done.unread_columns.push_back(skf_ingested_unread_columns_at(given, place));
    }
    return done;
  }

  template <typename Call>
  static Ingested ingested(const IngestOptions &options, Call call) {
    Watch watch{options.progress, options.is_cancelled, nullptr};
    skf_ingest_options how{};
    how.leave_out_broken = options.leave_out_broken;
    how.replace_other_sources = options.replace_other_sources;
    how.progress = Watch::progress;
    how.is_cancelled = Watch::is_cancelled;
    how.user = &watch;
    skf_ingested *out = nullptr;
    const skf_status status = call(&how, &out);
    const OwnedIngested owned(out);
    watch.check(status);
    return ingested_of(owned);
  }

  void for_each(const skf_filter *filter, const std::function<void(const Photo &, View<float>)> &visit) const {
    skf_list *list = nullptr;
    detail::check(skf_list_all(get(), filter, &list));
    each(list, visit);
  }

  /// Takes the list.
  void each(skf_list *list, const std::function<void(const Photo &, View<float>)> &visit) const {
    const OwnedList owned(list);
    while (const skf_photo *next = skf_list_next(list)) {
      Photo photo(next->id, detail::copied(next->labels, next->n_labels));
      photo.path = detail::copied(next->path);
      photo.product = detail::copied(next->product);
      visit(photo, View<float>(skf_list_embedding(list), width()));
    }
    if (*skf_last_error() != '\0') throw Error(SKF_INTERNAL, skf_last_error());
  }

  detail::Owned<skf_retriever, skf_close> retriever_;
};

}  // namespace sketchfind

#endif  // SKETCHFIND_HPP
