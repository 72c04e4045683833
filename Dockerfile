# What we run: Python, the locked dependencies of requirements/serve.lock, and this package.
FROM python:3.11-slim AS build
WORKDIR /src
COPY requirements/serve.lock requirements/
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir --require-hashes -r requirements/serve.lock
COPY pyproject.toml README.md LICENSE ./
COPY server server
COPY clients/python clients/python
RUN /venv/bin/pip install --no-cache-dir --no-deps .

FROM python:3.11-slim
RUN useradd --system --create-home --home-dir /var/lib/chronoserve chronoserve
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH
USER chronoserve
WORKDIR /var/lib/chronoserve
EXPOSE 50051 9000
STOPSIGNAL SIGTERM
# In a container the loopback interface is the container's own, so both ports are opened to its network here.
ENTRYPOINT ["chronoserve"]
CMD ["serve", "--listen", "0.0.0.0:50051", "--http", "0.0.0.0:9000", "--store", "lmdb:///var/lib/chronoserve/data"]
