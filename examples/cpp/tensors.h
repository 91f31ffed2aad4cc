// Handwritten digits from a file, and numbers to raw contents and back.
#pragma once

#include <cstdint>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "servemesh/api/oip/v2/inference.pb.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "raw contents are little-endian: swap bytes here");

struct Digit {
  int64_t label;
  std::vector<float> image;
};

// The label and the pixels of each line.
inline std::vector<Digit> ReadDigits(const std::string& path) {
  std::ifstream file(path);
  std::vector<Digit> digits;
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    Digit digit;
    std::string field;
    std::getline(fields, field, ',');
    digit.label = std::stoll(field);
    while (std::getline(fields, field, ',')) digit.image.push_back(std::stof(field));
    digits.push_back(std::move(digit));
  }
  return digits;
}

// A request with raw contents: row-major, little-endian.
inline inference::ModelInferRequest RequestOf(const std::string& model, const std::vector<float>& pixels, int64_t rows) {
  inference::ModelInferRequest request;
  request.set_model_name(model);
  auto& tensor = *request.add_inputs();
  tensor.set_name("image");
  tensor.set_datatype("FP32");
  tensor.add_shape(rows);
  tensor.add_shape(static_cast<int64_t>(pixels.size()) / rows);
  request.add_raw_input_contents(pixels.data(), pixels.size() * sizeof(float));
  return request;
}

// The elements of one output: the raw contents lie in the order of the outputs.
template <typename Element>
std::vector<Element> Output(const inference::ModelInferResponse& answer, const std::string& name) {
  for (int position = 0; position < answer.outputs_size(); ++position) {
    if (answer.outputs(position).name() != name) continue;
    const std::string& raw = answer.raw_output_contents(position);
    std::vector<Element> elements(raw.size() / sizeof(Element));
    std::memcpy(elements.data(), raw.data(), elements.size() * sizeof(Element));
    return elements;
  }
  throw std::runtime_error("there is no output " + name);
}
