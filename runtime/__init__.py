"""Image to Outcome: guest memory, page tables, the C half of kexec, the CPU, the verdict; its
own modules import nothing.
"""
