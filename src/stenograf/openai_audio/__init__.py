"""OpenAI's audio API as data: what its clients send and what they read. No HTTP server in here.

Both services answer it, so both read requests and write answers with this package.
"""
