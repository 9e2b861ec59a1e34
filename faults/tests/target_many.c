/* 70,000 call sites of one function: more than a census has room for. */
__asm__("yields: sub $8, %rsp\n"
        ".rept 70000\n"
        "call sched_yield@PLT\n"
        ".endr\n"
        "add $8, %rsp\n"
        "ret\n");
void yields(void);

int main(void)
{
    yields();
    return 0;
}
