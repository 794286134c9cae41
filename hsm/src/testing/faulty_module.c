/* A PKCS#11 module for tests: SoftHSM, with faults that SoftHSM itself cannot be made to have.
 *
 * Every call goes to the module that MODULE names; some first do what the file CONTROL says (both are set by who compiles this):
 *   "slow N"   the call takes N milliseconds longer
 *   "hang"     the call does not return while the file says so
 *   "crash"    the process gets SIGSEGV
 * Anything else, or no file: nothing. "init hang" does it in C_Initialize alone.
 *
 * CK_FUNCTION_LIST (PKCS #11 2.40, section 5.2) is a version and then pointers in a fixed order; all parameters are words,
 * so no header is needed. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef unsigned long word;
typedef word (*call)(word, word, word, word, word, word);
struct list { unsigned char version[2]; call at[68]; };

enum { INITIALIZE = 0, TOKEN_INFO = 6, OPEN_SESSION = 12, ENCRYPT = 30, SIGN = 43 };

static struct list own, *real;

static void pause_ms(long ms) {
    struct timespec t = { ms / 1000, (ms % 1000) * 1000000 };
    nanosleep(&t, 0);
}

static void misbehave(int initializing) {
    char said[64];
    for (;;) {
        FILE *file = fopen(CONTROL, "r");
        if (!file) return;
        size_t n = fread(said, 1, sizeof said - 1, file);
        fclose(file);
        said[n] = 0;
        if (initializing ? !strncmp(said, "init hang", 9) : !strncmp(said, "hang", 4)) { pause_ms(5); continue; }
        if (!initializing && !strncmp(said, "slow ", 5)) pause_ms(atol(said + 5));
        if (!initializing && !strncmp(said, "crash", 5)) raise(SIGSEGV);
        return;
    }
}

#define PASS(name, index, initializing) \
    static word name(word a, word b, word c, word d, word e, word f) { \
        misbehave(initializing); \
        return real->at[index](a, b, c, d, e, f); \
    }
PASS(initialize, INITIALIZE, 1)
PASS(token_info, TOKEN_INFO, 0)
PASS(open_session, OPEN_SESSION, 0)
PASS(encrypt_one, ENCRYPT, 0)
PASS(sign_one, SIGN, 0)

word C_GetFunctionList(struct list **out) {
    if (!real) {
        void *module = dlopen(MODULE, RTLD_NOW | RTLD_LOCAL);
        word (*get)(struct list **) = module ? (word (*)(struct list **))dlsym(module, "C_GetFunctionList") : 0;
        if (!get || get(&real)) return 5; /* CKR_GENERAL_ERROR */
        own = *real;
        own.at[INITIALIZE] = initialize;
        own.at[TOKEN_INFO] = token_info;
        own.at[OPEN_SESSION] = open_session;
        own.at[ENCRYPT] = encrypt_one;
        own.at[SIGN] = sign_one;
    }
    *out = &own;
    return 0;
}
