// The C++ header: embeddings that are ready, how sure an answer is, what keeps a gallery well: `ready FIXTURES FOLDER`. In FOLDER
// there is what the Rust test has made, see answers.c.
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <thread>

#include "expect.hpp"

struct Stop {};

template <typename Work>
static bool stops(Work work) {
  try {
    work();
  } catch (const Stop &) {
    return true;
  }
  return false;
}

static sf::Image grey(const std::uint8_t &value) { return sf::Image::grey({&value, 1}, 1, 1); }

static void ready(const std::string &fixtures, const std::string &folder) {
  const std::string path = folder + "/ready", copy = folder + "/copy", file = folder + "/embeddings.npy";
  EXPECT(fails(SKF_BAD_ARGUMENT, "width of embeddings is 0", [&] { sf::Retriever::create_without_model(path, sf::Space(0)); }));
  sf::Space named(2);
  named.model_sha256 = "resnet50";
  EXPECT(fails(SKF_BAD_ARGUMENT, "'resnet50'", [&] { sf::Retriever::create_without_model(path, named); }));
  sf::Retriever::create_without_model(path, sf::Space(2, SKF_COSINE), SKF_HNSW);
  sf::Options options;
  options.writable = true;
  sf::Retriever shop(path, options);
  const std::uint8_t value = 9;
  EXPECT(shop.width() == 2 && fails(SKF_NO_MODEL, "no model", [&] { shop.query(grey(value), 1); }));
  EXPECT(fails(SKF_NO_MODEL, "no model", [&] { shop.add(sf::Photo("a"), grey(value)); }));

  // Directions, a degree apart.
  const std::size_t n = 1200;
  std::vector<sf::Photo> photos;
  std::vector<float> rows;
  for (std::size_t i = 0; i < n; i++) {
    photos.emplace_back(std::to_string(i), std::vector<std::string>{i % 2 == 0 ? "even" : "odd"});
    rows.push_back(static_cast<float>(std::cos(0.005 * static_cast<double>(i))));
    rows.push_back(static_cast<float>(std::sin(0.005 * static_cast<double>(i))));
  }
  EXPECT(fails(SKF_BAD_ARGUMENT, "2399 numbers of 1200 embeddings, expected 2400",
               [&] { shop.add_embeddings(photos, {rows.data(), rows.size() - 1}); }));
  EXPECT(fails(SKF_BAD_ARGUMENT, "width of embeddings is 1", [&] { shop.add_embeddings(photos, {rows.data(), n}); }));
  shop.add_embeddings({}, {});
  shop.add_embeddings(photos, rows);
  EXPECT(fails(SKF_EXISTS, "'0'", [&] { shop.add_embeddings(photos, rows); }));
  shop.replace_embeddings({sf::Photo("0")}, {rows.data(), 2});
  EXPECT(shop.size() == n && shop.photo("0")->labels == std::vector<std::string>{"even"});

  sf::SearchOptions exact;
  exact.exact = true;
  sf::Filter odd;
  odd.any_label({"odd"});
  const sf::View<float> second(rows.data() + 2, 2);
  EXPECT(shop.query_embedding(second, 1)[0].id == "1" && !shop.query_embedding(second, 1)[0].score);
  EXPECT(shop.query_embedding({rows.data(), 2}, 1, odd, exact)[0].id == "1");
  const std::vector<sf::Answer> answers = shop.query_embeddings({rows.data(), 8}, 1, exact);
  EXPECT(answers.size() == 4 && answers[3][0].id == "3" && shop.query_embeddings({}, 1).empty());
  EXPECT(shop.query_embeddings({rows.data(), 4}, 2, odd).size() == 2);
  EXPECT(fails(SKF_BAD_ARGUMENT, "5 numbers of embeddings", [&] { shop.query_embeddings({rows.data(), 5}, 1); }));
  EXPECT(fails(SKF_BAD_ARGUMENT, "1 numbers of embeddings", [&] { shop.query_embeddings({rows.data(), 1}, 1); }));
  EXPECT(fails(SKF_BAD_ARGUMENT, "width", [&] { shop.query_embedding({rows.data(), 4}, 1); }));
  sf::SearchOptions many;
  many.ef = 100001;
  EXPECT(fails(SKF_BAD_ARGUMENT, "ef is 100001", [&] { shop.query_embedding(second, 1, many); }));

  // Long work is told of, stopped, and thrown out of, on this thread.
  const std::thread::id here = std::this_thread::get_id();
  std::size_t n_done = 0, n_all = 0;
  sf::Work work;
  work.progress = [&](std::size_t done, std::size_t all) {
    EXPECT(std::this_thread::get_id() == here);
    n_done = done;
    n_all = all;
  };
  EXPECT(!shop.measure_recall());
  shop.compact(work);
  EXPECT(n_done == n && n_all == n);
  const std::optional<sf::Recall> recall = shop.measure_recall(work);
  EXPECT(n_done == 200 && n_all == 200 && recall->k == 10 && recall->n_nearest == 2000 && recall->value > 0.9);
  many.ef = 500;
  EXPECT(shop.query_embedding(second, 1, many)[0].distance == 0);
  sf::Work stopped;
  stopped.is_cancelled = [] { return true; };
  EXPECT(fails(SKF_CANCELLED, "", [&] { shop.compact(stopped); }));
  stopped.is_cancelled = []() -> bool { throw Stop(); };
  EXPECT(stops([&] { shop.measure_recall(stopped); }));
  stopped = sf::Work();
  stopped.progress = [](std::size_t, std::size_t) { throw Stop(); };
  EXPECT(stops([&] { shop.export_embeddings(file, stopped); }));
  // Also when all is done and that is told.
  stopped.progress = [](std::size_t done, std::size_t all) {
    if (done == all) throw Stop();
  };
  EXPECT(stops([&] { shop.export_embeddings(file, stopped); }) && stops([&] { shop.import_embeddings(file, {}, stopped); }));

  EXPECT(shop.export_embeddings(file, work).n_photos == n && n_done == n && n_all == n);
  EXPECT(shop.remove({"0", "1"}) == 2);
  const sf::Ingested imported = shop.import_embeddings(file);
  EXPECT(imported.n_added == 2 && imported.n_unchanged == n - 2 && imported.left_out.empty() && imported.unread_columns.empty());
  shop.replace_embeddings({sf::Photo("0")}, {rows.data() + 2, 2});
  EXPECT(fails(SKF_EXISTS, "'0'", [&] { shop.import_embeddings(file); }));
  sf::ImportOptions replacing;
  replacing.replace = true;
  EXPECT(shop.import_embeddings(file, replacing, work).n_replaced == 1 && n_done == n);
  const std::string table = folder + "/embeddings.parquet", full = fixtures + "/embeddings/full.parquet";
  EXPECT(shop.export_embeddings(table).without_path.empty() && shop.import_embeddings(table).n_unchanged == n);
  const sf::Ingested some = shop.import_embeddings(full);
  EXPECT(some.n_added == 3 && some.left_out.size() == 1 && some.left_out[0].reason == "cannot decode" && !some.left_out[0].file);
  EXPECT(some.unread_columns == std::vector<std::string>{"price"} && shop.remove({"a", "b", "caf\u00e9"}) == 3);

  const sf::Copied copied = sf::Retriever::copy(path, copy);
  EXPECT(copied.n_photos == n && copied.n_own > 0);
  EXPECT(fails(SKF_BAD_FILE, "is there already", [&] { sf::Retriever::copy(path, copy); }));
  EXPECT(sf::Retriever::copy(path, copy, true).n_photos == n);
  sf::Options turns;
  turns.by_turns = true;
  sf::Retriever one(copy, turns), other(copy, turns);
  one.remove({"1"});
  other.remove({"2"});
  EXPECT(one.refresh() && one.size() == n - 2 && fails(SKF_BAD_ARGUMENT, "index", [&] { one.set_index(skf_index(9)); }));
  const sf::Retriever moved = std::move(other);
  EXPECT(fails(SKF_BAD_ARGUMENT, "retriever is null", [&] { other.query_embeddings(rows, 1); }) && moved.width() == 2);
  shop.set_index(SKF_EXACT);
  shop.compact();
  EXPECT(!shop.measure_recall());
}

static void products(const std::string &folder) {
  const std::string path = folder + "/products";
  sf::Retriever::create_without_model(path, sf::Space(1));
  sf::Options options;
  options.writable = true;
  sf::Retriever shop(path, options);
  std::vector<sf::Photo> photos;
  const float rows[] = {0, 1, 2, 3};
  for (const char *id : {"a", "b", "c", "d"}) photos.emplace_back(id);
  photos[0].product = photos[1].product = "boot";
  photos[2].product = "shoe";
  shop.add_embeddings(photos, rows);
  EXPECT(shop.photo("b")->product == "boot" && !shop.photo("d")->product);
  sf::SearchOptions by_product;
  by_product.by_product = true;
  const sf::View<float> first(rows, 1);
  const sf::Answer answer = shop.query_embedding(first, 3, by_product);
  EXPECT(answer.size() == 3 && answer[0].id == "a" && answer[1].id == "c" && answer[2].id == "d" && answer[1].rank == 2);
  EXPECT(answer[0].product == "boot" && !answer[2].product && shop.query_embedding(first, 3)[1].id == "b");
  sf::Filter only, without, none;
  only.only_products({"boot", "hat"});
  without.without_products({"boot"});
  none.only_products({"hat"});
  EXPECT(shop.query_embedding(first, 9, only).size() == 2 && shop.query_embedding(first, 9, without)[0].id == "c");
  EXPECT(shop.query_embedding(first, 9, none).nothing_code == "no_such_product");
  shop.replace_embeddings({sf::Photo("a")}, first);
  EXPECT(shop.photo("a")->product == "boot");
  sf::Photo a("a");
  a.product = "";
  shop.replace_embeddings({a}, first);
  EXPECT(!shop.photo("a")->product);
}

static void sure(const std::string &fixtures, const std::string &folder) {
  const std::string path = folder + "/gallery";
  sf::Retriever::create(path, fixtures + "/mean8", SKF_EXACT);
  sf::Options options;
  options.writable = true;
  options.threads = 1;
  options.calibration = folder + "/other.json";
  EXPECT(fails(SKF_BAD_ARGUMENT, "the model that the calibration is of", [&] { sf::Retriever none(path, options); }));
  options.calibration = folder + "/calibration.json";
  sf::Retriever shop(path, options);
  for (std::uint8_t i = 0; i < 20; i++) {
    const std::uint8_t value = static_cast<std::uint8_t>(10 * i);
    shop.add(sf::Photo(std::to_string(i)), grey(value));
  }
  const std::uint8_t near = 50, far = 255;
  const sf::Answer all = shop.query(grey(near), 20);
  EXPECT(all.score && *all.score > 0.5 && *all.score < 1 && all[9].score && !all[10].score && *all[0].score > *all[1].score);
  sf::SearchOptions how;
  how.min_score = -1;
  const sf::Answer one = shop.query(grey(near), 1, how);
  EXPECT(one.size() == 1 && one.score == all.score && one[0].score == all[0].score && !one.nothing);
  const std::vector<sf::Answer> answers = shop.query_many({grey(near), grey(far)}, 3, how);
  EXPECT(answers[0].size() == 3 && answers[1].empty() && *answers[1].nothing_code == "no_fit" && *answers[1].score < 0.5);
  std::vector<float> embeddings = shop.embed_sketch(grey(far));
  EXPECT(*shop.query_embedding(embeddings, 3, how).nothing_code == "no_fit" && shop.query_embedding(embeddings, 3).size() == 3);
  how.min_score = 2;
  EXPECT(fails(SKF_BAD_ARGUMENT, "0 to 1", [&] { shop.query(grey(near), 1, how); }));

  EXPECT(sf::verify(folder + "/two-networks").passed && sf::verify(path + "/model").n_images > 0);
  const sf::Verification changed = sf::verify(folder + "/changed");
  EXPECT(!changed.passed && changed.relative > changed.tolerance);
  options.device = "gpu";
  EXPECT(fails(SKF_BAD_ARGUMENT, "'gpu'", [&] { sf::verify(folder + "/changed", options); }));
}

int main(int argc, char **argv) {
  EXPECT(argc == 3);
  ready(argv[1], argv[2]);
  products(argv[2]);
  sure(argv[1], argv[2]);
  std::cout << "all is well\n";
  return 0;
}
