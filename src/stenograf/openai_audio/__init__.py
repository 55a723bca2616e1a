"""OpenAI's audio API: what its clients send and what they read, for both services that answer it.

Requests, answers and events are plain data; only `patient` makes HTTP responses of them.
"""
