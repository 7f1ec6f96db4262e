# Denormal numbers count as zero on TensorFlow's own threads. A graph that runs in
# the thread of its caller must see the same, or it would give other numbers, and
# slowly. Two instructions each way; the thread's own setting comes back after.

cdef extern from *:
    """
    #if defined(__SSE3__) || defined(__x86_64__)
    #include <xmmintrin.h>
    static unsigned long salver_flush_denormals(void) {
        unsigned int state = _mm_getcsr();
        _mm_setcsr(state | 0x8040); /* FTZ: bit 15, DAZ: bit 6 */
        return state;
    }
    static void salver_restore_denormals(unsigned long state) {
        _mm_setcsr((unsigned int)state);
    }
    #elif defined(__aarch64__)
    static unsigned long salver_flush_denormals(void) {
        unsigned long state;
        __asm__ volatile("mrs %0, fpcr" : "=r"(state));
        __asm__ volatile("msr fpcr, %0" : : "r"(state | (1ul << 24))); /* FZ */
        return state;
    }
    static void salver_restore_denormals(unsigned long state) {
        __asm__ volatile("msr fpcr, %0" : : "r"(state));
    }
    #else
    static unsigned long salver_flush_denormals(void) { return 0; }
    static void salver_restore_denormals(unsigned long state) { (void)state; }
    #endif
    """
    unsigned long flush_denormals "salver_flush_denormals"() noexcept nogil
    void restore_denormals "salver_restore_denormals"(unsigned long) noexcept nogil
