// A shop that is searched by drawing, from pixels to matches: shop MODEL GALLERY
//
// It paints its products, adds them with labels, asks with strokes and with pixels, and lets only some of them be found. The
// gallery is made anew.
#include <cmath>
#include <cstdint>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

#include "sketchfind.hpp"

namespace sf = sketchfind;

// Pixels as a camera or a canvas gives them: red, green, blue, rows from the top.
struct Picture {
  std::uint32_t side;
  std::vector<std::uint8_t> rgb;
  sf::Image image() const { return sf::Image::rgb(rgb, side, side); }
};

// A product of a colour on a white ground. `is_inside` knows its shape in coordinates from -1 to 1, y downwards.
static Picture painted(const std::function<bool(double, double)> &is_inside, const std::vector<std::uint8_t> &colour) {
  Picture picture{192, {}};
  for (std::uint32_t y = 0; y < picture.side; y++) {
    for (std::uint32_t x = 0; x < picture.side; x++) {
      const double at_x = 2.0 * x / picture.side - 1, at_y = 2.0 * y / picture.side - 1;
      const bool inside = is_inside(at_x, at_y);
      for (std::uint8_t value : colour) picture.rgb.push_back(inside ? value : 255);
    }
  }
  return picture;
}

static bool in_ring(double x, double y) { return std::fabs(std::hypot(x, y) - 0.5) < 0.12; }
static bool in_triangle(double x, double y) { return y < 0.55 && y > 2 * std::fabs(x) - 0.6; }
static bool in_cross(double x, double y) {
  return std::fmax(std::fabs(x), std::fabs(y)) < 0.65 && std::fmin(std::fabs(x), std::fabs(y)) < 0.16;
}

static void show(const std::string &question, const sf::Answer &answer) {
  std::cout << question << ":";
  for (const sf::Match &match : answer) std::cout << " " << match.id;
  if (answer.nothing) std::cout << " nothing, because " << *answer.nothing;
  std::cout << "\n";
}

static void run(const std::string &model, const std::string &gallery) {
  sf::Retriever::create(gallery, model);
  sf::Options options;
  options.writable = true;
  sf::Retriever shop(gallery, options);

  const Picture red_ring = painted(in_ring, {200, 40, 40}), blue_ring = painted(in_ring, {40, 60, 200});
  const Picture triangle = painted(in_triangle, {40, 150, 60}), cross = painted(in_cross, {90, 60, 40});
  shop.add_batch({sf::Photo("red-ring", {"ring", "red"}), sf::Photo("blue-ring", {"ring", "blue"}),
                  sf::Photo("triangle", {"green"}), sf::Photo("cross", {"brown", "sold out"})},
                 {red_ring.image(), blue_ring.image(), triangle.image(), cross.image()});
  std::cout << shop.size() << " products\n";

  // Strokes, as a canvas records them: wherever they lie on the page, and however large.
  sf::Strokes drawn(800, 600);
  drawn.line({{400, 150}, {250, 420}, {550, 420}, {400, 150}});
  show("drawn triangle", shop.query(drawn, 1));

  // Pixels.
  const Picture query = painted([](double x, double y) { return std::fabs(std::hypot(x, y) - 0.5) < 0.02; }, {0, 0, 0});
  sf::Filter blue;
  blue.any_label({"blue", "brown"}).without_label({"sold out"});
  show("drawn ring, among what is blue", shop.query(query.image(), 3, blue));

  sf::Filter golden;
  golden.every_label({"ring", "golden"});
  show("drawn ring, among what is golden", shop.query(query.image(), 3, golden));
}

int main(int argc, char **argv) {
  if (argc != 3) {
    std::cerr << "usage: " << argv[0] << " MODEL GALLERY\n";
    return 2;
  }
  try {
    run(argv[1], argv[2]);
  } catch (const sf::Error &error) {
    std::cerr << "error " << error.status() << ": " << error.what() << "\n";
    return 1;
  }
  return 0;
}
