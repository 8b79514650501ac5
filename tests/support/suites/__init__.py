"""GNU's and LLVM's own test files, which are fetched and compared, never kept."""
