"""Models in processes of their own: started, fed through shared memory, watched and restarted."""
