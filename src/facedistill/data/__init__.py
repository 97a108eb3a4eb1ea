"""Where faces come from: every source gives the same `Sample`."""
