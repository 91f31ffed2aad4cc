# One image per service: docker build --build-arg SERVICE=gateway .
# SERVICE is gateway (also the REST front), registry, worker, optimizer or metrics; EXTRA is what pip installs for it.
ARG BASE=python:3.11-slim-bookworm

# The wheel, built once for all services: this stage does not know SERVICE, so that it is kept between builds.
FROM ${BASE} AS wheel
WORKDIR /source
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_NO_CACHE_DIR=1
COPY constraints.txt pyproject.toml hatch_build.py README.md LICENSE ./
COPY protos protos
COPY libs libs
COPY services services
RUN PIP_CONSTRAINT=constraints.txt python -m pip wheel --no-deps --wheel-dir /wheels .

FROM ${BASE} AS tools
RUN apt-get update && apt-get install --yes --no-install-recommends binutils && rm -rf /var/lib/apt/lists/*

# The service's own environment. Wheels only: there is no compiler, here or later.
FROM tools AS environment
ARG SERVICE
ARG EXTRA=${SERVICE}
# A further package index, for example one that has the CPU build of torch: see docs/compose.md.
ARG PIP_EXTRA_INDEX_URL=
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_NO_CACHE_DIR=1
RUN python -m venv --without-pip /opt/servemesh
COPY constraints.txt /wheels/
COPY --from=wheel /wheels /wheels
RUN python -m pip --python /opt/servemesh/bin/python install --only-binary :all: --constraint /wheels/constraints.txt \
        "$(echo /wheels/servemesh-*.whl)[${EXTRA}]" \
    && cd /opt/servemesh/lib/python3*/site-packages \
    && find . -type d \( -name tests -o -name test -o -name SelfTest \) -prune -exec rm -rf {} + \
    && find . \( -name '*.pyi' -o -name '*.h' -o -name '*.a' \) -delete \
    # These come with their symbols, three quarters of their size.
    && find . \( -path './asyncpg/*' -o -path './ml_dtypes/*' -o -path './uvloop/*' \) -name '*.so' \
        -exec strip --strip-unneeded {} +

FROM ${BASE} AS service
ARG SERVICE
LABEL org.opencontainers.image.title="servemesh-${SERVICE}" \
      org.opencontainers.image.licenses="Apache-2.0"
# Whoever mounts nothing here loses what the service keeps, and no more.
RUN mkdir -m 700 -p /var/lib/servemesh/registry /var/lib/servemesh/gateway /var/lib/servemesh/worker \
        /var/lib/servemesh/optimizer /var/lib/servemesh/metrics \
    && chown -R 10001:10001 /var/lib/servemesh
COPY --from=environment /opt/servemesh /opt/servemesh
ENV PATH=/opt/servemesh/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp SERVICE=${SERVICE}
WORKDIR /var/lib/servemesh
USER 10001:10001
EXPOSE 9000 9100
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-m", "servemesh.rpc.probe", "127.0.0.1:9000"]
ENTRYPOINT ["python", "-m", "servemesh.container"]

# Build with --build-arg SERVICE=worker --build-arg EXTRA=worker-gpu --target worker-gpu.
FROM service AS worker-gpu
ARG PACKAGES=/opt/servemesh/lib/python3.11/site-packages
ENV SERVEMESH_WORKER_PROVIDERS=CUDAExecutionProvider,CPUExecutionProvider \
    # CUDA and cuDNN come as wheels, where the loader does not look by itself.
    LD_LIBRARY_PATH=${PACKAGES}/nvidia/cu13/lib:${PACKAGES}/nvidia/cudnn/lib \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
