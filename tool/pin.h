// PINs: read from the terminal without echo, a file or a descriptor, never from the command line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace secretmem::tool {

// PinSource says where a PIN comes from; neither: the terminal asks for it.
struct PinSource {
  std::string file;
  std::optional<int> descriptor;
};

// PinText is a PIN in a page of its own of secret memory (locked memory where there is none), wiped
// at its end. It goes from read(2) to the module without touching other memory of the tool's.
class PinText {
 public:
  PinText();
  ~PinText();
  PinText(PinText&& other) noexcept : page_(other.page_), size_(other.size_) {
    other.page_ = nullptr;
  }
  PinText& operator=(PinText&&) = delete;

  unsigned char* data() const { return page_; }
  size_t size() const { return size_; }

  // Fill reads up to the first newline or the end. Throws kPinRefused if nothing comes or too much.
  void Fill(int descriptor, const std::string& source);

  bool Equals(const PinText& other) const;

 private:
  unsigned char* page_ = nullptr;
  size_t size_ = 0;
};

// ReadPin asks for |what| ("user PIN of token \"main\""); |is_new|: twice, on a terminal. |options|
// names the options that would have said it, for the error where there is no terminal.
PinText ReadPin(const PinSource& source, const std::string& what, bool is_new,
                const std::string& options);

}  // namespace secretmem::tool
