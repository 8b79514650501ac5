"""The C half of kexec: files to segments, kimage, lists, tables, the old kernel: the Machine."""
