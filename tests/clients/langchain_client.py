"""LangChain's loader: `python langchain_client.py SERVER FILE` prints the documents as JSON.

The parser re-encodes the recording to MP3 with pydub and sends pieces of twenty minutes.
"""

import json
import sys

from langchain_community.document_loaders.parsers.audio import OpenAIWhisperParser
from langchain_core.documents.base import Blob

server, path = sys.argv[1:]
parser = OpenAIWhisperParser(api_key="none", base_url=f"{server}/v1", language="ru")
print(json.dumps([d.page_content for d in parser.lazy_parse(Blob.from_path(path))]))
