// SPDX-License-Identifier: MPL-2.0
//
// 32 threads that meet at a barrier, share a counter under a mutex, hand a token around by condition variable, and each sum
// a part of the numbers below a million. What it prints is the same on every machine.
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS = 32, ROUNDS = 3, INCREMENTS = 500, LIMIT = 1000000 };

static pthread_barrier_t barrier;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int counter, token, initialised;
static __thread int own; // thread-local: each its own
static uint64_t sums[THREADS];

static void initialise(void) { initialised++; }

static void pass_the_token(int index) {
    pthread_mutex_lock(&mutex);
    while (token % THREADS != index)
        pthread_cond_wait(&turned, &mutex);
    token++;
    pthread_cond_broadcast(&turned);
    pthread_mutex_unlock(&mutex);
}

static void *work(void *arg) {
    int index = (int)(intptr_t)arg;
    pthread_once(&once, initialise);
    own = index;
    for (int round = 0; round < ROUNDS; round++) {
        pthread_barrier_wait(&barrier);
        for (int i = 0; i < INCREMENTS; i++) {
            pthread_mutex_lock(&mutex);
            counter++;
            pthread_mutex_unlock(&mutex);
        }
        pass_the_token(index);
    }
    for (uint64_t n = (uint64_t)index; n < LIMIT; n += THREADS)
        sums[index] += n;
    return (void *)(intptr_t)(own * own);
}

int main(void) {
    pthread_t threads[THREADS];
    pthread_barrier_init(&barrier, NULL, THREADS);
    for (intptr_t i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, work, (void *)i) != 0) {
            perror("pthread_create");
            return EXIT_FAILURE;
        }
    uint64_t sum = 0, squares = 0;
    for (int i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        squares += (uint64_t)(intptr_t)result;
        sum += sums[i];
    }
    printf("%d threads\n", THREADS);
    printf("initialised %d time\n", initialised);
    printf("counter %d\n", counter);
    printf("token %d\n", token);
    printf("squares %lu\n", (unsigned long)squares);
    printf("sum %lu\n", (unsigned long)sum);
    return 0;
}
