"""The queue of requests, the thread that computes, and the place of the model that it computes with."""
