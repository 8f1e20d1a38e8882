#pragma once

#include <gtest/gtest.h>

#include <array>
#include <memory>

#include "pkcs11/token.h"
#include "tests/unit/store_testing.h"
#include "vault/secret_stack.h"

namespace secretmem {

// TokenFixture is a place for tokens, and what makes one there.
class TokenFixture : public testing::Test {
 protected:
  explicit TokenFixture(const std::filesystem::path& base = std::filesystem::temp_directory_path())
      : directory_(base) {}

  void SetUp() override {
    if (const auto ready = InitialiseVault(); !ready) {
      GTEST_SKIP() << Describe(ready.error().code);
    }
    config_.tokens_directory = directory_ / "tokens";
    config_.pin.iterations = 1000;
    label_.fill(' ');
  }

  // MakeToken makes one with both PINs, "so pin" and "user pin", and a session open; nobody is
  // logged in.
  void MakeToken(std::shared_ptr<Token>& token) {
    auto made = Token::Create(config_, 0, PinOf("so pin"), label_);
    ASSERT_TRUE(made) << made.error();
    token = std::move(*made);
    ASSERT_TRUE(token->SessionOpened(true));
    ASSERT_TRUE(token->LogIn(CKU_SO, PinOf("so pin")));
    ASSERT_TRUE(token->InitPin(PinOf("user pin")));
    ASSERT_TRUE(token->LogOut());
  }

  TemporaryDirectory directory_;
  Config config_;
  std::array<uint8_t, 32> label_;
};

}  // namespace secretmem
