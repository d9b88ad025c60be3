"""A server on loopback that hands out one file, well or badly."""

import contextlib
import http.server
import threading
import time

TAG = '"one"'


class Server:
  """What to serve and how.

  Attributes:
    content: bytes of the file.
    manners: how the requests are answered, in turn, the last for all further ones: 'well', 'breaks' (after half of
      what was asked for), 'stalls', 'drips', 'ignores' (Range), 'lies' (of the size), 'endless', 'elsewhere' (another
      part), 'refuses' (503), 'absent' (404), 'page' (a login page), 'huge' (a petabyte, by its header).
    asked: the ranges that were asked for, None for the whole.
  """

  def __init__(self, content, *manners):
    self.content, self.manners, self.asked, self.address, self.tag = content, list(manners), [], "", TAG
    self.paths = []


@contextlib.contextmanager
def serving(content, *manners):
  """Yields a running Server; `address` is its prefix."""
  state = Server(content, *(manners or ("well",)))

  class Handler(http.server.BaseHTTPRequestHandler):

    def log_message(self, *_):
      pass

    def do_GET(self):
      manner = state.manners.pop(0) if len(state.manners) > 1 else state.manners[0]
      asked = self.headers.get("Range")
      state.asked.append(asked)
      state.paths.append(self.path)
      with contextlib.suppress(OSError):
        _answer(self, state, manner, asked)

  server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
  server.daemon_threads = True
  state.address = f"http://127.0.0.1:{server.server_address[1]}"
  thread = threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=0.02), daemon=True)
  thread.start()
  try:
    yield state
  finally:
    server.shutdown()
    server.server_close()


def _answer(handler, state, manner, asked):
  if manner in ("absent", "refuses"):
    return handler.send_error(404 if manner == "absent" else 503)
  body = b"<html>Log in to this network</html>" if manner == "page" else state.content
  begin = int(asked.partition("=")[2].rstrip("-")) if asked else 0
  if asked and manner not in ("ignores", "page") and handler.headers.get("If-Range") in (None, state.tag):
    if begin >= len(body):
      return handler.send_error(416)
    shift = 1 if manner == "elsewhere" else 0
    handler.send_response(206)
    handler.send_header("Content-Range", f"bytes {begin - shift}-{len(body) - 1}/{len(body)}")
    body = body[begin - shift:]
  else:
    handler.send_response(200)
  if manner != "endless":
    length = len(body) + (1000 if manner == "lies" else 0)
    handler.send_header("Content-Length", str(10**15 if manner == "huge" else length))
  handler.send_header("ETag", state.tag)
  handler.end_headers()
  if manner == "breaks":
    handler.wfile.write(body[:len(body) // 2])
    handler.wfile.flush()
    return handler.connection.shutdown(2)
  if manner in ("stalls", "drips"):
    handler.wfile.write(body[:10])
    for at in range(10, len(body)):
      time.sleep(30 if manner == "stalls" else 0.02)
      handler.wfile.write(body[at:at + 1])
    return None
  if manner == "endless":
    for _ in range(100):
      handler.wfile.write(body)
    return None
  return handler.wfile.write(body)
