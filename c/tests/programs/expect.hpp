// What the programs in C++ expect, and what they say where it does not hold.
#pragma once

#include <cstdlib>
#include <iostream>
#include <string>

#include "sketchfind.hpp"

namespace sf = sketchfind;

static void expect(bool holds, const char *what, int line) {
  if (!holds) {
    std::cerr << "line " << line << ": " << what << " does not hold; last error: '" << skf_last_error() << "'\n";
    std::exit(1);
  }
}
#define EXPECT(...) expect(__VA_ARGS__, #__VA_ARGS__, __LINE__)

template <typename Work>
static bool fails(skf_status status, const std::string &words, Work work) {
  try {
    work();
  } catch (const sf::Error &error) {
    return error.status() == status && std::string(error.what()).find(words) != std::string::npos;
  }
  return false;
}
