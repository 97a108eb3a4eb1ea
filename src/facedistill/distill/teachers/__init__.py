"""Where knowledge comes from: online networks, banks, prompted Transformers."""
