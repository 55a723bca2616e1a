"""The Wyoming protocol: voice assistants such as Home Assistant ask for text over a bare socket."""
