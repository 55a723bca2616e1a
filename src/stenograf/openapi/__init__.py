"""What the HTTP APIs say about themselves: OpenAPI documents, and `docs/api.md` made from them."""
