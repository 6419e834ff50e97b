// Lets ctypes call a parser: builds its vectors, and copies each tensor to the very end of a page that no readable
// page follows, so that one value too many is a crash.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>

#include "nvdsinfer_custom_impl.h"

struct Tensor {
    const char* name;
    const void* values;
    std::size_t bytes;
    int type, rank;
    unsigned int dims[NVDSINFER_MAX_DIMS], elements;
};

struct Object {
    unsigned int label;
    float left, top, width, height, score, angle;
};

extern "C" bool NvDsInferParseTrtforge(std::vector<NvDsInferLayerInfo> const&, NvDsInferNetworkInfo const&,
                                       NvDsInferParseDetectionParams const&,
                                       std::vector<NvDsInferObjectDetectionInfo>&);

static std::size_t pages(std::size_t bytes)
{
    const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    return (bytes + page - 1) / page * page;
}

// -1: the parser refused; else how many objects there are, of which the first `room` are in `found`.
extern "C" long call(const Tensor* tensors, int count, unsigned int width, unsigned int height,
                     unsigned int classes, const float* thresholds, int known, Object* found, long room)
{
    std::vector<NvDsInferLayerInfo> layers;
    std::vector<std::pair<char*, std::size_t>> mapped;
    for (int i = 0; i < count; ++i) {
        const Tensor& tensor = tensors[i];
        NvDsInferLayerInfo layer{};
        layer.dataType = static_cast<NvDsInferDataType>(tensor.type);
        layer.inferDims.numDims = static_cast<unsigned int>(tensor.rank);
        std::memcpy(layer.inferDims.d, tensor.dims, sizeof tensor.dims);
        layer.inferDims.numElements = tensor.elements;
        layer.layerName = tensor.name;
        if (tensor.values) {
            const std::size_t held = pages(tensor.bytes), guard = pages(1);
            char* base = static_cast<char*>(
                mmap(nullptr, held + guard, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
            if (base == MAP_FAILED) return -2;
            mprotect(base + held, guard, PROT_NONE);
            layer.buffer = base + held - tensor.bytes;
            std::memcpy(layer.buffer, tensor.values, tensor.bytes);
            mapped.emplace_back(base, held + guard);
        }
        layers.push_back(layer);
    }
    NvDsInferParseDetectionParams params{};
    params.numClassesConfigured = classes;
    params.perClassPreclusterThreshold.assign(thresholds, thresholds + known);
    std::vector<NvDsInferObjectDetectionInfo> objects;
    const bool fine = NvDsInferParseTrtforge(layers, NvDsInferNetworkInfo{width, height, 3}, params, objects);
    for (const auto& each : mapped) munmap(each.first, each.second);
    for (std::size_t i = 0; i < objects.size() && static_cast<long>(i) < room; ++i) {
        const NvDsInferObjectDetectionInfo& object = objects[i];
        float angle = 0;
#ifndef WITHOUT_ROTATION
        angle = object.rotation_angle;
#endif
        found[i] = {object.classId, object.left, object.top, object.width, object.height,
                    object.detectionConfidence, angle};
    }
    return fine ? static_cast<long>(objects.size()) : -1;
}
