#include "tests/audit/commands.h"
namespace secretmem::audit {
int AuditCores(const Options&) { return 2; }
int AuditStorm(const Options&) { return 2; }
int AuditThreads(const Options&) { return 2; }
int AuditAttacks(const Options&) { return 2; }
int DrawMappings(const Options&) { return 2; }
}
