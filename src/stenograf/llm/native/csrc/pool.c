/* Workers spin for a moment after each round of work, because the next one usually follows within
 * microseconds, and then sleep: an idle model costs nothing. A worker that comes late, asleep or
 * without a core, is not waited for: the others do its tasks and close the round. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "pool.h"

enum { SPINS = 4000 }; /* pauses, some 0.1 ms */

/* The state in one word: number of the round, whether it may be joined, how many have joined. */
#define JOINED UINT64_C(0x7fff)
#define OPEN UINT64_C(0x8000)
#define ROUND_SHIFT 16

struct pool {
    const kernels *kernels;
    int threads; /* the caller and threads - 1 workers */
    pthread_t *workers;
    pthread_mutex_t lock;
    pthread_cond_t woken;
    int sleeping; /* under the lock */
    _Atomic uint64_t state;
    atomic_int next; /* task */
    atomic_int closing;
    int count;
    task run;
    void *context;
};

typedef struct {
    pool *pool;
    int thread;
} seat;

static void work(pool *pool, int thread)
{
    pool->kernels->begin();
    for (int i; (i = atomic_fetch_add(&pool->next, 1)) < pool->count;)
        pool->run(pool->context, i, thread);
    pool->kernels->end();
}

static uint64_t round_of(pool *pool) { return atomic_load(&pool->state) >> ROUND_SHIFT; }

static void wait_for_round(pool *pool, uint64_t seen)
{
    for (int i = 0; i < SPINS; i++) {
        if (round_of(pool) != seen) return;
        __builtin_ia32_pause();
    }
    pthread_mutex_lock(&pool->lock);
    pool->sleeping++;
    while (round_of(pool) == seen) pthread_cond_wait(&pool->woken, &pool->lock);
    pool->sleeping--;
    pthread_mutex_unlock(&pool->lock);
}

static void *worker(void *given)
{
    seat mine = *(seat *)given;
    free(given);
    pool *pool = mine.pool;
    uint64_t seen = 0;
    for (;;) {
        wait_for_round(pool, seen);
        if (atomic_load(&pool->closing)) return NULL;
        uint64_t state = atomic_load(&pool->state);
        seen = state >> ROUND_SHIFT;
        while (state & OPEN && state >> ROUND_SHIFT == seen) {
            if (!atomic_compare_exchange_weak(&pool->state, &state, state + 1)) continue;
            work(pool, mine.thread);
            atomic_fetch_sub(&pool->state, 1);
            break;
        }
    }
}

static void open_round(pool *pool)
{
    uint64_t next = ((atomic_load(&pool->state) >> ROUND_SHIFT) + 1) << ROUND_SHIFT;
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->state, next | OPEN);
    if (pool->sleeping) pthread_cond_broadcast(&pool->woken);
    pthread_mutex_unlock(&pool->lock);
}

void pool_run(pool *pool, int count, task run, void *context)
{
    pool->run = run;
    pool->context = context;
    pool->count = count;
    atomic_store(&pool->next, 0);
    if (count < 2 || pool->threads < 2) {
        work(pool, 0);
        return;
    }
    open_round(pool);
    work(pool, 0);
    atomic_fetch_and(&pool->state, ~OPEN);
    for (int i = 0; atomic_load(&pool->state) & JOINED; i++) {
        if (i < SPINS) __builtin_ia32_pause();
        else sched_yield();
    }
}

pool *pool_new(int threads, const kernels *kernels)
{
    pool *made = calloc(1, sizeof *made);
    if (!made) return NULL;
    made->kernels = kernels;
    made->threads = 1;
    pthread_mutex_init(&made->lock, NULL);
    pthread_cond_init(&made->woken, NULL);
    made->workers = calloc((size_t)threads, sizeof *made->workers);
    while (made->workers && made->threads < threads) {
        seat *mine = malloc(sizeof *mine);
        if (!mine) break;
        *mine = (seat){made, made->threads};
        if (pthread_create(&made->workers[made->threads], NULL, worker, mine)) {
            free(mine);
            break;
        }
        made->threads++;
    }
    if (made->workers && made->threads == threads) return made;
    pool_free(made);
    return NULL;
}

void pool_free(pool *pool)
{
    if (!pool) return;
    atomic_store(&pool->closing, 1);
    open_round(pool);
    for (int i = 1; i < pool->threads; i++) pthread_join(pool->workers[i], NULL);
    pthread_cond_destroy(&pool->woken);
    pthread_mutex_destroy(&pool->lock);
    free(pool->workers);
    free(pool);
}

int pool_threads(const pool *pool) { return pool->threads; }
