// Return codes as readable assertions.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>

#include "mechanisms/cryptoki.h"

namespace secretmem::conformance {

// RvName returns the specification's name of `rv` with its number, or the number alone.
std::string RvName(CK_RV rv);

// RvIs and RvIsOneOf are the predicates behind the macros below; a failure names both codes.
testing::AssertionResult RvIs(const char* want_text, const char* got_text, CK_RV want, CK_RV got);
testing::AssertionResult RvIsOneOf(const char* got_text, CK_RV got,
                                   std::initializer_list<CK_RV> accepted);

}  // namespace secretmem::conformance

#define EXPECT_RV(want, got) EXPECT_PRED_FORMAT2(::secretmem::conformance::RvIs, want, got)
#define ASSERT_RV(want, got) ASSERT_PRED_FORMAT2(::secretmem::conformance::RvIs, want, got)

// EXPECT_RV_IN(call, code, code...): where the specification leaves the choice.
#define EXPECT_RV_IN(got, ...) \
  EXPECT_TRUE(::secretmem::conformance::RvIsOneOf(#got, got, {__VA_ARGS__}))
