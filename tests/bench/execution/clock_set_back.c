/* Preloaded, it sets the wall clock back by an hour once the file that CLOCK_SET_BACK names is there. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now)
{
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int code = real(clock, now);
    if (clock == CLOCK_REALTIME && access(getenv("CLOCK_SET_BACK"), F_OK) == 0)
        now->tv_sec -= 3600;
    return code;
}
