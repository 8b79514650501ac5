"""What every room stands on: errors, files read and written, child processes, progress; imports
nothing.
"""
