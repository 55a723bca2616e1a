#!/bin/sh
# install_requirements PIP-INSTALL-ARGUMENTS...
# Installs into /opt/venv with a pip that is thrown away, then drops what no service can use:
# test suites, C headers, static libraries, notebook extensions, Arrow's RPC server.
set -eu

python3 -m venv /tmp/pip
/tmp/pip/bin/pip --python /opt/venv/bin/python --disable-pip-version-check \
    install --root-user-action=ignore "$@"
rm -rf /tmp/pip

cd /opt/venv/lib/python3.11/site-packages
for package in scipy pandas sympy networkx pyarrow sklearn numba joblib; do
    if [ -d "$package" ]; then
        find "$package" -type d -name tests -prune -exec rm -rf {} +
    fi
done
# numpy.testing imports a module out of numpy's test folders, so only the tests themselves go
if [ -d numpy ]; then
    find numpy -path '*/tests/*' -name 'test_*' -delete
fi
rm -rf torch/include torch/test torch/share \
    pyarrow/include pyarrow/src pyarrow/*flight* \
    onnxruntime/transformers onnxruntime/quantization onnxruntime/tools \
    pydeck/nbextension/static
find . -name '*.a' -delete
