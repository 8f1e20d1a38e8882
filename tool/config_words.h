// Settings and tokens as they are shown.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "pkcs11/config.h"
#include "tool/page.h"
#include "tool/token_files.h"

namespace secretmem::tool {

// WordOf returns the word of the configuration file.
const char* WordOf(MemoryProtection protection);
const char* WordOf(MemoryIsolation isolation);
const char* WordOf(MemoryAtRest at_rest);

nlohmann::ordered_json TokenJson(const TokenFacts& token);

// ShowTokens prints a line or two per token.
void ShowTokens(Page& page, const std::vector<TokenFacts>& tokens);

}  // namespace secretmem::tool
