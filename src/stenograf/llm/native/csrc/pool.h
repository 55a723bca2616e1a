/* A fixed number of threads that share numbered tasks. */
#ifndef POOL_H
#define POOL_H

#include "kernels.h"

typedef struct pool pool;
typedef void (*task)(void *context, int number, int thread);

/* `threads` in all, the caller's included; NULL if they cannot be had. */
pool *pool_new(int threads, const kernels *kernels);
void pool_free(pool *pool);
int pool_threads(const pool *pool);
/* Run `run(context, 0 .. count - 1, thread)` and return when all are done. */
void pool_run(pool *pool, int count, task run, void *context);

#endif
