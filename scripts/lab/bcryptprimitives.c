/* For the tests only, never shipped: Rust's standard library takes its random
 * numbers from bcryptprimitives.dll!ProcessPrng, which Wine has from 8.13 on
 * and Debian 12's Wine 8.0 has not. This forwards to what Wine does have. */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG length); /* RtlGenRandom, in advapi32 */

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T length)
{
    while (length > 0) {
        ULONG part = length > 0x10000000 ? 0x10000000 : (ULONG)length;
        if (!SystemFunction036(data, part))
            return FALSE;
        data += part;
        length -= part;
    }
    return TRUE;
}
