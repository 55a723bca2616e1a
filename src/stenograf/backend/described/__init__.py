"""What the backend's document says of its routes, one module for each outside API."""
