// The part of DeepStream's custom-parser interface that a detector's parser uses, written from its published binary
// interface: the same names, types and order of members, in DeepStream 9.x. Only for compiling generated parsers in
// the tests, where no DeepStream is installed. WITHOUT_ROTATION leaves out the member that older versions lack.
#pragma once

#include <vector>

#define NVDSINFER_MAX_DIMS 8

enum NvDsInferDataType { FLOAT = 0, HALF = 1, INT8 = 2, INT32 = 3, INT64 = 4, UINT8 = 5 };

struct NvDsInferDims {
    unsigned int numDims;
    unsigned int d[NVDSINFER_MAX_DIMS];
    unsigned int numElements;
};

struct NvDsInferLayerInfo {
    NvDsInferDataType dataType;
    NvDsInferDims inferDims;  // without the batch
    int bindingIndex;
    const char* layerName;
    void* buffer;  // of one frame
    int isInput;
};

struct NvDsInferNetworkInfo {
    unsigned int width, height, channels;
};

struct NvDsInferObjectDetectionInfo {
    unsigned int classId;
    float left, top, width, height;  // pixels of the network's input
    float detectionConfidence;
#ifndef WITHOUT_ROTATION
    float rotation_angle;  // radians
#endif
};

struct NvDsInferParseDetectionParams {
    unsigned int numClassesConfigured;
    std::vector<float> perClassPreclusterThreshold, perClassPostclusterThreshold;
    std::vector<float>& perClassThreshold = perClassPreclusterThreshold;
};

extern "C" typedef bool (*NvDsInferParseCustomFunc)(std::vector<NvDsInferLayerInfo> const&, NvDsInferNetworkInfo const&,
                                                    NvDsInferParseDetectionParams const&,
                                                    std::vector<NvDsInferObjectDetectionInfo>&);

// Fails to compile where the function has another type.
#define CHECK_CUSTOM_PARSE_FUNC_PROTOTYPE(function) \
    NvDsInferParseCustomFunc checked_##function() { return function; } \
    static_assert(true, "")
