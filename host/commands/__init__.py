"""What each `canopic` command does. A command returns its exit status: 0 done, 1 failed, 2 wrong input, 3 blind."""
