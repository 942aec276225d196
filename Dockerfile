# The gateway, the load-test tool and the fake provider. Dependencies come from the lock with hashes, nothing else.
ARG PYTHON=python:3.13-slim-bookworm
FROM ${PYTHON} AS build
RUN python -m venv /opt/pllm
ENV PATH=/opt/pllm/bin:$PATH
COPY requirements.lock /build/requirements.lock
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes --only-binary :all: -r /build/requirements.lock
COPY gateway /build/gateway
COPY shared_state /build/shared_state
COPY loadtest /build/loadtest
COPY lua /build/lua
# Beside each other, as in a checkout; compiled once, because the container's file system is read-only.
RUN site=$(python -c 'import site; print(site.getsitepackages()[0])') \
    && cp -r /build/gateway /build/shared_state /build/loadtest /build/lua "$site" \
    && printf '#!/opt/pllm/bin/python\nimport sys\nfrom gateway.__main__ import main\nsys.exit(main())\n' > /opt/pllm/bin/pllm \
    && chmod +x /opt/pllm/bin/pllm \
    && python -m compileall -q "$site" \
    && pip uninstall -q -y pip

FROM ${PYTHON}
COPY --from=build /opt/pllm /opt/pllm
COPY LICENSE /opt/pllm/LICENSE
ENV PATH=/opt/pllm/bin:$PATH PYTHONUNBUFFERED=1
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["pllm"]
CMD ["serve", "--config", "/etc/pllm/gateway.yaml"]
