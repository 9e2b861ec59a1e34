/* A static program: LD_PRELOAD does not reach it. */
int main(void)
{
    return 0;
}
