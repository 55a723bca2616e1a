#!/usr/bin/env bash
exec "${PYTHON:-python}" -m stenograf.backend
