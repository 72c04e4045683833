# What we run: Python, the locked dependencies of requirements/serve.lock, the native transport, and this package.
FROM python:3.11-slim-trixie AS build
# Debian 13 has Rust 1.85, the oldest that native/Cargo.toml takes; mirrors keep only the newest build of it, so its version cannot be named.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends cargo gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY requirements requirements
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir --require-hashes -r requirements/serve.lock
# maturin builds the transport and does not go into the image: it has an environment of its own, with the lock's version and hashes.
RUN awk '/^[a-z]/ {wanted = /^maturin==/} wanted' requirements/dev.lock > /tmp/maturin.lock \
    && python -m venv /tools && /tools/bin/pip install --no-cache-dir --require-hashes -r /tmp/maturin.lock
COPY native native
COPY scripts/native.sh scripts/
RUN NATIVE_PYTHON=/tools/bin/python scripts/native.sh \
    && /venv/bin/pip install --no-index --no-deps build/native/wheels/*.whl
COPY pyproject.toml README.md LICENSE ./
COPY server server
COPY clients/python clients/python
RUN /venv/bin/pip install --no-cache-dir --no-deps . \
    && /venv/bin/pip uninstall --yes pip \
    && /venv/bin/python -c 'import chronoserve_native'

FROM python:3.11-slim-trixie
# A number, so that Kubernetes' runAsNonRoot can tell that it is not root.
RUN useradd --uid 10001 --create-home --home-dir /var/lib/chronoserve chronoserve
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1
USER 10001
WORKDIR /var/lib/chronoserve
# All that is written: the root may be read-only.
VOLUME /var/lib/chronoserve
EXPOSE 50051 9000
STOPSIGNAL SIGTERM
# /readyz of the HTTP port; with another --http, or none, give the container a check of its own.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9000/readyz', timeout=2)"]
# In a container the loopback interface is the container's own, so both ports are opened to its network here.
ENTRYPOINT ["chronoserve"]
CMD ["serve", "--listen", "0.0.0.0:50051", "--http", "0.0.0.0:9000", "--store", "lmdb:///var/lib/chronoserve/data"]
