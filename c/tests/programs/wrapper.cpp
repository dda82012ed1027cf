// The C++ header from one end to the other: `wrapper FIXTURES FOLDER`. The model's embedding is the mean of each colour.
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <type_traits>

#include "expect.hpp"

static std::vector<std::uint8_t> read(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

static_assert(!std::is_copy_constructible<sf::Retriever>::value && std::is_nothrow_move_constructible<sf::Retriever>::value,
              "a handle has one owner");

struct Stop {};

int main(int argc, char **argv) {
  EXPECT(argc == 3);
  const std::string fixtures = argv[1], folder = argv[2], gallery = folder + "/gallery";
  EXPECT(fails(SKF_IO, "gallery.json", [&] { sf::Retriever none(gallery); }));
  EXPECT(fails(SKF_IO, "card.json", [&] { sf::Retriever::create(gallery, folder); }));
  sf::Retriever::create(gallery, fixtures + "/mean8", SKF_EXACT);
  sf::Options options;
  options.writable = true;
  options.threads = 1;
  options.device = "gpu";
  EXPECT(fails(SKF_BAD_ARGUMENT, "'gpu'", [&] { sf::Retriever none(gallery, options); }));
  options.device = "cpu";
  sf::Retriever opened(gallery, options);
  sf::Retriever shop = std::move(opened);
  EXPECT(shop.size() == 0 && shop.width() == 3);

  // Pixels, with a stride that is not that of their rows, and files.
  const std::vector<std::uint8_t> red = {250, 0, 0, 250, 0, 0, 9, 9, 250, 0, 0, 250, 0, 0};
  const std::uint8_t glass[] = {0, 0, 255, 0};
  const std::vector<std::uint8_t> blue = read(fixtures + "/photos/blue.png"), white = read(fixtures + "/photos/white.png");
  EXPECT(shop.embed(sf::Image::rgb(red, 2, 2, 8))[1] == 0.0f);
  EXPECT(shop.embed(sf::Image::rgba(glass, 1, 1))[0] == 1.0f);
  EXPECT(shop.embed(sf::Image::grey({red.data() + 6, 1}, 1, 1))[0] == 9.0f / 255.0f);
  EXPECT(fails(SKF_BAD_ARGUMENT, "too few", [&] { shop.embed(sf::Image::rgb(red, 2, 3, 8)); }));
  EXPECT(fails(SKF_BAD_IMAGE, "", [&] { shop.embed(sf::Image::encoded(red)); }));

  shop.add(sf::Photo("red", {"warm", "sale"}), sf::Image::rgb(red, 2, 2, 8));
  sf::Photo of_blue("blue", {"cold"});
  of_blue.path = "shop/blue.png";
  shop.add_batch({of_blue, sf::Photo("white")}, {sf::Image::encoded(blue), sf::Image::encoded(white)});
  EXPECT(fails(SKF_EXISTS, "'red'", [&] { shop.add(sf::Photo("red"), sf::Image::encoded(blue)); }));
  EXPECT(fails(SKF_BAD_ARGUMENT, "2 photos have 1 images", [&] {
    shop.add_batch({sf::Photo("x"), sf::Photo("y")}, {sf::Image::encoded(blue)});
  }));
  EXPECT(shop.size() == 3);

  // Queries.
  sf::Answer answer = shop.query(sf::Image::rgb(red, 2, 2, 8), 10);
  EXPECT(answer.size() == 3 && !answer.nothing && answer[0].id == "red" && answer[0].rank == 1 && answer[0].distance == 0);
  EXPECT(answer[0].labels == std::vector<std::string>{"sale", "warm"} && !answer[0].path);
  sf::Strokes strokes(500, 500);
  strokes.line({{100, 200}, {400, 200}}).line({{100, 300}, {400, 300}, {250, 100}});
  answer = shop.query(strokes, 2);
  EXPECT(answer.size() == 2 && answer[0].id == "white");
  EXPECT(shop.query_embedding(shop.embed_sketch(strokes), 2)[1].distance == answer[1].distance);
  const std::vector<sf::Answer> answers = shop.query_many({strokes, sf::Image::encoded(blue)}, 1);
  EXPECT(answers.size() == 2 && answers[1][0].id == "blue" && *answers[1][0].path == "shop/blue.png");
  EXPECT(shop.query_many({}, 1).empty());
  EXPECT(fails(SKF_BAD_ARGUMENT, "polylines is 0", [&] { shop.query(sf::Strokes(5, 5), 1); }));
  EXPECT(fails(SKF_BAD_ARGUMENT, "sketch 2: ", [&] { shop.query_many({strokes, sf::Strokes(5, 5)}, 1); }));

  // Filters.
  sf::Filter filter;
  filter.without_label({"cold"}).without_ids({"white"});
  std::vector<std::string> found;
  for (const sf::Match &match : shop.query(strokes, 5, filter)) found.push_back(match.id);
  EXPECT(found == std::vector<std::string>{"red"});
  filter.every_label({"warm", "sale"}).any_label({"warm", "cold"}).only_ids({"red", "blue"});
  const float brightest[] = {1, 1, 1};
  EXPECT(shop.query_embedding(brightest, 5, filter).size() == 1);
  filter.any_label({});
  answer = shop.query(strokes, 5, filter);
  EXPECT(answer.empty() && answer.nothing && *answer.nothing_code == "filter");

  // What a gallery knows, and what a replaced photo keeps.
  shop.replace(sf::Photo("red"), sf::Image::rgb(red, 2, 2, 8));
  EXPECT(shop.photo("red")->labels->size() == 2 && !shop.photo("never there"));
  shop.replace(sf::Photo("red", std::vector<std::string>()), sf::Image::rgb(red, 2, 2, 8));
  EXPECT(shop.photo("red")->labels->empty());
  std::string ids;
  double sum = 0;
  shop.for_each([&](const sf::Photo &photo, sf::View<float> embedding) {
    ids += photo.id + " ";
    for (float value : embedding) sum += value;
  });
  EXPECT(ids == "blue red white " && std::fabs(sum - (1 + 250 / 255.0 + 3)) < 1e-5);
  sf::Filter cold;
  cold.any_label({"cold"});
  bool was_thrown = false;
  try {
    shop.for_each(cold, [](const sf::Photo &, sf::View<float>) { throw Stop(); });
  } catch (const Stop &) {
    was_thrown = true;
  }
  EXPECT(was_thrown);

  // Files, with functions that see them, stop them, and throw.
  const std::vector<sf::PhotoFile> files = {{sf::Photo("green", {"file"}), fixtures + "/photos/green.png"},
                                            {sf::Photo("text"), fixtures + "/mean8/card.json"}};
  sf::IngestOptions how;
  how.is_cancelled = [] { return true; };
  EXPECT(fails(SKF_CANCELLED, "", [&] { shop.ingest(files, how); }));
  for (int round = 0; round < 2; round++) {
    how = sf::IngestOptions();
    how.leave_out_broken = true;
    if (round == 0) {
      how.is_cancelled = []() -> bool { throw Stop(); };
    } else {
      how.progress = [](std::size_t, std::size_t) { throw Stop(); };
    }
    was_thrown = false;
    try {
      shop.ingest(files, how);
    } catch (const Stop &) {
      was_thrown = true;
    }
    EXPECT(was_thrown);
  }
  EXPECT(fails(SKF_BAD_IMAGE, "card.json", [&] { shop.ingest(files); }));
  std::size_t n_told = 0;
  how.progress = [&](std::size_t n_done, std::size_t n_files) { n_told = n_done * 10 + n_files; };
  const sf::Ingested ingested = shop.ingest(files, how);
  EXPECT(n_told == 22 && ingested.n_added + ingested.n_unchanged == 1 && ingested.left_out.size() == 1);
  EXPECT(ingested.left_out[0].id == "text" && ingested.left_out[0].file->find("card.json") != std::string::npos);
  EXPECT(shop.ingest_folder(fixtures + "/photos").n_added == 4);
  const std::string path = *shop.photo("green.png")->path, end = "/photos/green.png";
  EXPECT(path[0] == '/' && path.size() > end.size() && path.substr(path.size() - end.size()) == end);

  sf::Options reading;
  reading.threads = 1;
  sf::Retriever reader(gallery, reading);
  EXPECT(shop.remove({"green", "never there"}) == 1 && shop.remove({}) == 0);
  const std::size_t n = reader.size();
  EXPECT(reader.refresh() && reader.size() == n - 1 && !reader.refresh());
  EXPECT(fails(SKF_READ_ONLY, "", [&] { reader.remove({"red"}); }));
  shop.compact();
  std::cout << "all is well\n";
  return 0;
}
